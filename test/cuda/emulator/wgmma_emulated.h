// The wrappers of cuda/device/wgmma.h, emulated: Hopper's warpgroup products. Operand tiles lie in
// shared memory K-major, rows of 128 bytes, with the 128-byte swizzle. A product reads its operands
// as late as its wait allows, and until then its accumulators are NaN.
#pragma once
#include "ptx_emulated.h"

typedef const char* SharedTile;  // the matrix descriptor
inline SharedTile shared_tile(const void* start) { return static_cast<const char*>(start); }

namespace emulator {

struct Product {
  float* d;
  SharedTile a, b;
  bool accumulate;
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

// Eight consecutive k of one row: two 16-byte chunks at swizzled places. Reads that sanitizers see.
inline void tile_row(SharedTile tile, int row, float (&out)[8]) {
  for (int half = 0; half < 2; half++) {
    uintptr_t at = reinterpret_cast<uintptr_t>(tile) + row * 128 + half * 16;
    at ^= (at >> 7 & 7) << 4;
    for (int i = 0; i < 4; i++)
      out[half * 4 + i] = tf32_operand(reinterpret_cast<const Word*>(at)[i]);
  }
}

// This thread's share of D (64, 128) = A (64, 8) B (128, 8)^T.
inline void multiply(const Product& p, Accumulator& acc) {
  const int t = worker->current->index & 127, q = t & 3;
  const int row = (t >> 5) * 16 + ((t & 31) >> 2);
  float top[8], bottom[8], b[8];
  tile_row(p.a, row, top);
  tile_row(p.a, row + 8, bottom);
  if (!p.accumulate) memset(acc.value, 0, sizeof acc.value);
  for (int j = 0; j < 16; j++) {
    for (int h = 0; h < 2; h++) {
      tile_row(p.b, j * 8 + q * 2 + h, b);
      for (int k = 0; k < 8; k++) {
        acc.value[j * 4 + h] += top[k] * b[k];
        acc.value[j * 4 + 2 + h] += bottom[k] * b[k];
      }
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

}  // namespace emulator

inline void fence_async_shared() { emulator::mark_proxy(false); }
inline void wgmma_fence() {
  emulator::Unseen unseen;
  emulator::warpgroup().fenced = true;
}

inline void wgmma_m64n128k8_tf32(float (&d)[64], SharedTile a, SharedTile b, bool accumulate) {
  using namespace emulator;
  Warpgroup& w = warpgroup();
  {
    Unseen unseen;
    if (!w.fenced) fail("wgmma without wgmma_fence");
  }
  if (proxy_dirty()) {
    fail("wgmma reads shared memory that was written without fence_async_shared");
  }
  const Product product{d, a, b, accumulate};
  Accumulator* acc = nullptr;
  {
    Unseen unseen;
    worker->current->wgmma_pending++;
    for (Accumulator& known : w.accumulators) {
      if (known.d == d) acc = &known;
    }
    if (!acc) {
      w.accumulators.push_back(Accumulator{d, 0, {}});
      acc = &w.accumulators.back();
      memcpy(acc->value, d, sizeof acc->value);
      for (float& value : d) value = NAN;
    }
    acc->pending++;
    w.open.push_back(product);
  }
  if (!settings().late_copies) multiply(product, *acc);
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
