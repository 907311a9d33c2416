// The wrappers of cuda/device/wgmma.h, emulated: Hopper's warpgroup products. Operand tiles lie in
// shared memory in rows of 128 bytes with the 128-byte swizzle. A product reads its operands as
// late as its wait allows, and until then its accumulators are NaN.
#pragma once
#include "ptx_emulated.h"

// The matrix descriptor; row major: the next 64 rows lie `apart` bytes on.
struct SharedTileAddress {
  uintptr_t start;
  int apart;
};
inline SharedTileAddress shared_tile(const void* start, int apart) {
  return {reinterpret_cast<uintptr_t>(start), apart};
}

namespace emulator {

enum class Kind { TF32, BF16, BF16_ROW_MAJOR };

struct Product {
  float* d;
  Kind kind;
  SharedTileAddress a, b;
};
struct Accumulator {
  float* d;
  int pending;
  float value[64];
};
struct Warpgroup {
  std::vector<Product> open;
  std::vector<std::vector<Product>> groups;
  std::vector<Accumulator> accumulators;
  bool fenced = false;
  const Worker* of = nullptr;
  unsigned serial = 0;
};

// Of this CUDA thread in this block.
inline Warpgroup& warpgroup() {
  Unseen unseen;
  static thread_local std::vector<Warpgroup> all(1024);
  Warpgroup& found = all[worker->current->index];
  if (found.of != worker || found.serial != worker->serial) {
    found = Warpgroup();
    found.of = worker;
    found.serial = worker->serial;
  }
  return found;
}

// The word at byte `at` of tile row `row`. A read that sanitizers see.
inline uint32_t tile_word(uintptr_t start, int row, int at) {
  uintptr_t place = start + row * 128 + at;
  place ^= (place >> 7 & 7) << 4;
  return *reinterpret_cast<const Word*>(place);
}

// The k of one product, 8 or 16, of row `row` of an operand.
inline void operand_row(Kind kind, SharedTileAddress tile, int row, float (&out)[16]) {
  const uintptr_t block = tile.start + row / 64 * tile.apart;
  for (int i = 0; i < 8; i++) {
    if (kind == Kind::TF32) {
      out[i] = tf32_operand(tile_word(tile.start, row, i * 4));
      continue;
    }
    for (int k = 2 * i; k < 2 * i + 2; k++) {
      out[k] = kind == Kind::BF16 ? bf16_operand(tile_word(tile.start, row, i * 4), k % 2)
                                  : bf16_operand(tile_word(block, k, row % 64 / 2 * 4), row % 2);
    }
  }
}

// This thread's share of D (64, 128) += A (64, K) B (128, K)^T.
inline void multiply(const Product& p, Accumulator& acc) {
  const int t = worker->current->index & 127, q = t & 3, depth = p.kind == Kind::TF32 ? 8 : 16;
  const int row = (t >> 5) * 16 + ((t & 31) >> 2);
  float top[16], bottom[16], b[16];
  operand_row(p.kind, p.a, row, top);
  operand_row(p.kind, p.a, row + 8, bottom);
  for (int j = 0; j < 16; j++) {
    for (int h = 0; h < 2; h++) {
      operand_row(p.kind, p.b, j * 8 + q * 2 + h, b);
      double of_top = acc.value[j * 4 + h], of_bottom = acc.value[j * 4 + 2 + h];
      for (int k = 0; k < depth; k++) {
        of_top += static_cast<double>(top[k]) * b[k];
        of_bottom += static_cast<double>(bottom[k]) * b[k];
      }
      acc.value[j * 4 + h] = tensor_sum(of_top);
      acc.value[j * 4 + 2 + h] = tensor_sum(of_bottom);
    }
  }
}

inline void complete(Warpgroup& w, const Product& p) {
  for (size_t i = 0; i < w.accumulators.size(); i++) {
    Accumulator& acc = w.accumulators[i];
    if (acc.d != p.d) continue;
    if (settings().late_copies) multiply(p, acc);
    Unseen unseen;
    worker->current->wgmma_pending--;
    if (--acc.pending == 0) {
      memcpy(p.d, acc.value, sizeof acc.value);
      w.accumulators.erase(w.accumulators.begin() + i);
    }
    return;
  }
}

inline void start(const Product& product) {
  Warpgroup& w = warpgroup();
  {
    Unseen unseen;
    if (!w.fenced) fail("wgmma without wgmma_fence");
  }
  if (proxy_dirty()) {
    fail("wgmma reads shared memory that was written without fence_async_shared");
  }
  Accumulator* acc = nullptr;
  {
    Unseen unseen;
    worker->current->wgmma_pending++;
    for (Accumulator& known : w.accumulators) {
      if (known.d == product.d) acc = &known;
    }
    if (!acc) {
      w.accumulators.push_back(Accumulator{product.d, 0, {}});
      acc = &w.accumulators.back();
      memcpy(acc->value, product.d, sizeof acc->value);
      for (int i = 0; i < 64; i++) product.d[i] = NAN;
    }
    acc->pending++;
    w.open.push_back(product);
  }
  if (!settings().late_copies) multiply(product, *acc);
}

}  // namespace emulator

inline void fence_async_shared() { emulator::mark_proxy(false); }
inline void wgmma_fence() {
  emulator::Unseen unseen;
  emulator::warpgroup().fenced = true;
}

inline void wgmma_m64n128k8_tf32(float (&d)[64], SharedTileAddress a, SharedTileAddress b) {
  emulator::start({d, emulator::Kind::TF32, a, b});
}
template <bool K_MAJOR>
inline void wgmma_m64n128k16_bf16(float (&d)[64], SharedTileAddress a, SharedTileAddress b) {
  using emulator::Kind;
  emulator::start({d, K_MAJOR ? Kind::BF16 : Kind::BF16_ROW_MAJOR, a, b});
}

inline void wgmma_commit() {
  emulator::Unseen unseen;
  emulator::Warpgroup& w = emulator::warpgroup();
  w.groups.push_back(std::move(w.open));
  w.open.clear();
  w.fenced = false;
}

template <int N>
inline void wgmma_wait() {
  using namespace emulator;
  Warpgroup& w = warpgroup();
  for (;;) {
    std::vector<Product> group;
    {
      Unseen unseen;
      if (static_cast<int>(w.groups.size()) <= N) return;
      group.swap(w.groups.front());
      w.groups.erase(w.groups.begin());
    }
    for (const Product& product : group) complete(w, product);
  }
}

inline void wgmma_finish(float (&)[64]) { wgmma_wait<0>(); }
