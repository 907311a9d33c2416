// Vectors of PL_VL floats by the compilers' vector extensions: no intrinsics, any instruction set.
#pragma once
#include <math.h>

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

// Values outside become the nearer end; NaN stays.
struct Range {
  float low = -INFINITY, high = INFINITY;
};
static inline Range relu_range(bool relu) { return {relu ? 0 : -INFINITY, INFINITY}; }
static inline Vec within(Vec v, Vec low, Vec high) {
  v = v < low ? low : v;
  return v > high ? high : v;
}

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

// exp(x), relative error below 2e-7, for x from -87 to 88 alone.
typedef int32_t IntVec __attribute__((vector_size(PL_VL * 4)));
static inline Vec exp_in_range(Vec x) {
  const Vec shift = Vec{} + 0x1.8p23f;
  const Vec shifted = x * 1.44269504f + shift;  // the integer sits in the low bits
  const Vec k = shifted - shift;
  const Vec r = (x - k * 0.693359375f) + k * 2.12194440e-4f;
  Vec sum = r * 1.9875691500e-4f + 1.3981999507e-3f;
  constexpr float TERMS[] = {8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f,
                             5.0000001201e-1f};
  for (const float c : TERMS) sum = sum * r + c;
  const IntVec power = (reinterpret_cast<IntVec>(shifted) + 127) << 23;
  return (sum * r * r + r + 1) * reinterpret_cast<Vec>(power);
}

// exp(x), relative error below 2e-7 for x from -87 to 88, clamped beyond.
static inline Vec exp(Vec x) {
  const Vec low = Vec{} - 87, high = Vec{} + 88;
  return exp_in_range(x < low ? low : x > high ? high : x);
}

// exp(x), relative error below 1e-12 for x up to 700; exp(-700) below -700.
static inline DoubleVec exp(DoubleVec x) {
  const DoubleVec low = DoubleVec{} - 700, shift = DoubleVec{} + 0x1.8p52;
  x = x < low ? low : x;
  const DoubleVec shifted = x * 1.4426950408889634 + shift;
  const DoubleVec k = shifted - shift;
  const DoubleVec r = (x - k * 0.69314718036912382) - k * 1.9082149292705877e-10;
  DoubleVec sum = r * (1.0 / 3628800) + 1.0 / 362880;
  constexpr double TAYLOR[] = {1.0 / 40320, 1.0 / 5040, 1.0 / 720, 1.0 / 120, 1.0 / 24,
                               1.0 / 6,     0.5,        1.0,       1.0};
  for (const double c : TAYLOR) sum = sum * r + c;
  const LongVec power = (reinterpret_cast<LongVec>(shifted) + 1023) << 52;
  return sum * reinterpret_cast<DoubleVec>(power);
}

// log(x) for positive normal x, absolute error below 1e-15 (1 + |log x|).
static inline DoubleVec log(DoubleVec x) {
  const LongVec bits = reinterpret_cast<LongVec>(x);
  // The mantissa is taken from sqrt(1/2) to sqrt(2).
  const LongVec exponent = (bits - 0x3fe6a09e667f3bcd) >> 52;
  const DoubleVec m = reinterpret_cast<DoubleVec>(bits - (exponent << 52));
  const DoubleVec s = (m - 1) / (m + 1), square = s * s;
  DoubleVec sum = square * (2.0 / 19) + 2.0 / 17;
  constexpr double SERIES[] = {2.0 / 15, 2.0 / 13, 2.0 / 11, 2.0 / 9, 2.0 / 7, 2.0 / 5, 2.0 / 3};
  for (const double c : SERIES) sum = sum * square + c;
  const DoubleVec k = __builtin_convertvector(exponent, DoubleVec);
  return k * 0.69314718055994531 + (s * square * sum + 2 * s);
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
