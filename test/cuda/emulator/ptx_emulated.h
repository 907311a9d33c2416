// The wrappers of cuda/device/ptx.h, emulated: asynchronous copies and mma.sync.
#pragma once
#include "collectives.h"

namespace emulator {

EMULATOR_UNSEEN inline float as_float(uint32_t bits) {
  float value;
  __builtin_memcpy(&value, &bits, 4);
  return value;
}
// The tensor cores ignore the low 13 bits of a tf32 operand.
EMULATOR_UNSEEN inline float tf32_operand(uint32_t bits) { return as_float(bits & 0xffffe000u); }
EMULATOR_UNSEEN inline float bf16_operand(uint32_t pair, int high) {
  return as_float(high ? pair & 0xffff0000u : pair << 16);
}
// They add products and accumulator exactly and round the sum towards zero. [Fasi et al. 2021]
EMULATOR_UNSEEN inline float tensor_sum(double exact) {
  const float nearest = static_cast<float>(exact);
  return std::abs(nearest) > std::abs(exact) ? as_float(__float_as_uint(nearest) - 1) : nearest;
}

// Shared memory that this thread wrote and wgmma may not see yet.
EMULATOR_UNSEEN inline void mark_proxy(bool dirty) { worker->current->proxy_dirty = dirty; }
EMULATOR_UNSEEN inline bool proxy_dirty() { return worker->current->proxy_dirty; }

typedef uint32_t __attribute__((may_alias)) Word;

// Word by word: the sanitizers do not see what gcc expands from memcpy.
inline void land(const AsyncCopy& c) {
  for (int i = 0; i < c.bytes / 4; i++) {
    static_cast<Word*>(c.to)[i] = i * 4 < c.valid ? static_cast<const Word*>(c.from)[i] : 0;
  }
}

struct MmaOperands {
  uint32_t a[4], b[2];
  float c[4];
};
static_assert(sizeof(MmaOperands) <= SLOT_BYTES, "a slot holds the operands of one lane");

// D (16, 8) = A (16, K) B (K, 8) + C, gathered from and scattered to the fragments of 32 lanes.
template <bool BF16>
EMULATOR_UNSEEN void mma_of_warp(Slots slots) {
  constexpr int K = BF16 ? 16 : 8;
  float A[16][K], B[K][8], C[16][8];
  for (int lane = 0; lane < 32; lane++) {
    const MmaOperands* m = reinterpret_cast<const MmaOperands*>(slots[lane]);
    const int g = lane >> 2, q = lane & 3;
    for (int r = 0; r < 4; r++) {
      const int row = g + (r & 1) * 8, half = r >> 1;
      if (BF16) {
        for (int h = 0; h < 2; h++) A[row][half * 8 + 2 * q + h] = bf16_operand(m->a[r], h);
      } else {
        A[row][half * 4 + q] = tf32_operand(m->a[r]);
      }
      C[g + r / 2 * 8][2 * q + r % 2] = m->c[r];
    }
    for (int half = 0; half < 2; half++) {
      if (BF16) {
        for (int h = 0; h < 2; h++) B[half * 8 + 2 * q + h][g] = bf16_operand(m->b[half], h);
      } else {
        B[half * 4 + q][g] = tf32_operand(m->b[half]);
      }
    }
  }
  for (int i = 0; i < 16; i++) {
    double sums[8];
    for (int j = 0; j < 8; j++) sums[j] = C[i][j];
    for (int k = 0; k < K; k++) {
      for (int j = 0; j < 8; j++) sums[j] += static_cast<double>(A[i][k]) * B[k][j];
    }
    for (int j = 0; j < 8; j++) C[i][j] = tensor_sum(sums[j]);
  }
  for (int lane = 0; lane < 32; lane++) {
    MmaOperands* m = reinterpret_cast<MmaOperands*>(slots[lane]);
    for (int r = 0; r < 4; r++) m->c[r] = C[(lane >> 2) + r / 2 * 8][2 * (lane & 3) + r % 2];
  }
}

template <bool BF16>
EMULATOR_UNSEEN void mma(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], int line) {
  MmaOperands own;
  for (int i = 0; i < 4; i++) {
    own.a[i] = a[i];
    own.c[i] = d[i];
  }
  own.b[0] = b[0];
  own.b[1] = b[1];
  const int lane = worker->current->lane;
  const Slots slots = meet(~0u, &own, sizeof own, "mma.sync", line, mma_of_warp<BF16>);
  const MmaOperands* result = reinterpret_cast<const MmaOperands*>(slots[lane]);
  for (int i = 0; i < 4; i++) d[i] = result->c[i];
}

}  // namespace emulator

// 16 bytes global -> shared; the bytes from `valid` on become zero. Lands at the wait, and until
// then the target holds NaN.
inline void cp_async16(void* to, const void* from, int valid = 16) {
  using namespace emulator;
  const uintptr_t both = reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from);
  if (both & 15) fail("cp.async needs addresses of 16-byte alignment");
  const AsyncCopy copy{to, from, 16, valid};
  if (!settings().late_copies) return land(copy);
  for (int i = 0; i < 4; i++) static_cast<Word*>(to)[i] = ~0u;
  Unseen unseen;
  worker->current->open_copies.push_back(copy);
}

inline void cp_async_commit() {
  emulator::Unseen unseen;
  emulator::Thread* t = emulator::worker->current;
  if (!emulator::settings().late_copies) return;
  t->copy_groups.push_back(std::move(t->open_copies));
  t->open_copies.clear();
}

// Until at most N groups are under way.
template <int N>
inline void cp_async_wait() {
  using namespace emulator;
  Thread* t = worker->current;
  for (;;) {
    std::vector<AsyncCopy> group;
    {
      Unseen unseen;
      if (static_cast<int>(t->copy_groups.size()) <= N) return;
      group.swap(t->copy_groups.front());
      t->copy_groups.erase(t->copy_groups.begin());
    }
    for (const AsyncCopy& copy : group) land(copy);
    if (!group.empty()) mark_proxy(true);
  }
}

// To the nearest tf32, ties away from zero.
inline uint32_t round_tf32(float f) {
  const uint32_t u = __float_as_uint(f);
  if ((u & 0x7f800000u) == 0x7f800000u) return u;
  return (u + 0x1000u) & 0xffffe000u;
}

inline uint32_t bf16_bits(float f) {
  const uint32_t u = __float_as_uint(f);
  return f != f ? 0x7fffu : (u + 0x7fffu + (u >> 16 & 1)) >> 16;
}
inline uint32_t pack_bf16(float low, float high) { return bf16_bits(low) | bf16_bits(high) << 16; }

#define mma_tf32_16x8x8(d, a, b) ::emulator::mma<false>(d, a, b, __LINE__)
#define mma_bf16_16x8x16(d, a, b) ::emulator::mma<true>(d, a, b, __LINE__)
