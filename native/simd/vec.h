// Vectors of PL_VL floats by the compilers' vector extensions: no intrinsics, any instruction set.
#pragma once
#include "layout.h"

namespace partlens {
namespace PL_ISA {

constexpr int VL = PL_VL;
constexpr int PANEL_VECTORS = BLOCK / VL;  // vectors in 16 columns

typedef float Vec __attribute__((vector_size(PL_VL * 4)));
typedef float UnalignedVec __attribute__((vector_size(PL_VL * 4), aligned(4)));

static inline Vec load(const float* p) { return *reinterpret_cast<const UnalignedVec*>(p); }
static inline void store(float* p, Vec v) { *reinterpret_cast<UnalignedVec*>(p) = v; }
static inline Vec positive(Vec v) { return v < 0 ? Vec{} : v; }

// Half as many doubles: for sums and logarithms that must not lose digits.
constexpr int DL = PL_VL > 4 ? PL_VL / 2 : 2;
typedef double DoubleVec __attribute__((vector_size(DL * 8)));
typedef int64_t LongVec __attribute__((vector_size(DL * 8)));
typedef float HalfVec __attribute__((vector_size(DL * 4), aligned(4)));

static inline DoubleVec widen(const float* p) {
  return __builtin_convertvector(*reinterpret_cast<const HalfVec*>(p), DoubleVec);
}
static inline void narrow(float* p, DoubleVec v) {
  *reinterpret_cast<HalfVec*>(p) = __builtin_convertvector(v, HalfVec);
}

// exp(x), relative error below 1e-12; 0 below -700, for x up to 700.
static inline DoubleVec exp(DoubleVec x) {
  const DoubleVec low = DoubleVec{} - 700, shift = DoubleVec{} + 0x1.8p52;
  x = x < low ? low : x;
  const DoubleVec shifted = x * 1.4426950408889634 + shift;  // the integer sits in the low bits
  const DoubleVec k = shifted - shift;
  const DoubleVec r = (x - k * 0.69314718036912382) - k * 1.9082149292705877e-10;
  DoubleVec sum = r * (1.0 / 3628800) + 1.0 / 362880;
  constexpr double TAYLOR[] = {1.0 / 40320, 1.0 / 5040, 1.0 / 720, 1.0 / 120, 1.0 / 24,
                               1.0 / 6,     0.5,        1.0,       1.0};
  for (const double c : TAYLOR) sum = sum * r + c;
  const LongVec power = (reinterpret_cast<LongVec>(shifted) + 1023) << 52;
  return sum * reinterpret_cast<DoubleVec>(power);
}

// Transposes a 16 x 16 block: to[j * 16 + i] = from[i * 16 + j].
typedef float Quad __attribute__((vector_size(16), aligned(4)));
static inline void transpose_block(const float* from, float* to) {
  for (int i = 0; i < BLOCK; i += 4) {
    for (int j = 0; j < BLOCK; j += 4) {
      const float* s = from + i * BLOCK + j;
      const Quad a = *(const Quad*)s, b = *(const Quad*)(s + 16), c = *(const Quad*)(s + 32),
                 d = *(const Quad*)(s + 48);
      const Quad ab0 = __builtin_shufflevector(a, b, 0, 4, 1, 5);
      const Quad ab1 = __builtin_shufflevector(a, b, 2, 6, 3, 7);
      const Quad cd0 = __builtin_shufflevector(c, d, 0, 4, 1, 5);
      const Quad cd1 = __builtin_shufflevector(c, d, 2, 6, 3, 7);
      float* t = to + j * BLOCK + i;
      *(Quad*)t = __builtin_shufflevector(ab0, cd0, 0, 1, 4, 5);
      *(Quad*)(t + 16) = __builtin_shufflevector(ab0, cd0, 2, 3, 6, 7);
      *(Quad*)(t + 32) = __builtin_shufflevector(ab1, cd1, 0, 1, 4, 5);
      *(Quad*)(t + 48) = __builtin_shufflevector(ab1, cd1, 2, 3, 6, 7);
    }
  }
}

}  // namespace PL_ISA
}  // namespace partlens
