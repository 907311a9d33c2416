// Elementary functions of vectors beyond exp (vec.h), over the whole range of float32.
#pragma once
#include <math.h>

#include "vec.h"

namespace partlens {
namespace PL_ISA {

static inline Vec splat(float v) { return Vec{} + v; }
static inline Vec absolute(Vec x) { return x < 0 ? -x : x; }
static inline Vec square_root(Vec x) {
  Vec root;
  for (int lane = 0; lane < VL; lane++) root[lane] = sqrtf(x[lane]);
  return root;
}

// exp(x), relative error below 2e-7; 0 below -87, where float32 ends.
static inline Vec exp_of_negative(Vec x) { return x < -87 ? Vec{} : exp(x); }

// 2^k, k from -126 to 127
static inline Vec power_of_two(IntVec k) { return reinterpret_cast<Vec>((k + 127) << 23); }

// exp(x) - 1 = 2^k (r + r^2 P(r)) + (2^k - 1), which cancels nothing near 0; x up to 88.
static inline Vec exp_minus_one(Vec x) {
  const Vec low = splat(-87), high = splat(88), shift = splat(0x1.8p23f);
  x = x < low ? low : x > high ? high : x;
  const Vec shifted = x * 1.44269504f + shift, k = shifted - shift;
  const Vec r = (x - k * 0.693359375f) + k * 2.12194440e-4f;
  Vec sum = r * 1.9875691500e-4f + 1.3981999507e-3f;
  constexpr float TERMS[] = {8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f,
                             5.0000001201e-1f};
  for (const float c : TERMS) sum = sum * r + c;
  const Vec power = power_of_two(reinterpret_cast<IntVec>(shifted) - 0x4b400000);
  return (sum * r * r + r) * power + (power - 1);
}

// erf(x), absolute error below 1.5e-7, relative too: x (1 + P(x^2)) below 1, beyond it
// 1 - exp(-R(|x|)) with R = -log(1 - erf), and 1 from 4 on. P and R: weighted minimax fits.
static inline Vec erf(Vec x) {
  const Vec size = absolute(x), t = size > 4 ? splat(4) : size, s = x * x;
  constexpr float P[] = {4.91758787e-3f, -2.67113485e-2f, 1.12801818e-1f, -3.76123265e-1f,
                         1.28379123e-1f};
  constexpr float R[] = {-1.47781503e-2f, 8.86342677e-2f, 6.54488806e-1f, 1.11743859f,
                         2.67167191e-3f};
  Vec small = s * -5.63155251e-4f + P[0], rest = t * 1.15042597e-3f + R[0];
  for (int i = 1; i < 5; i++) {
    small = small * s + P[i];
    rest = rest * t + R[i];
  }
  const Vec tail = size < 4 ? 1 - exp(-rest) : splat(1);
  return size < 1 ? x + x * small : x < 0 ? -tail : tail;
}

// log and powers go through double, half a vector at a time.
template <class F>
static inline Vec by_halves(Vec x, F f) {
  alignas(64) float in[VL > DL ? VL : DL] = {}, out[VL > DL ? VL : DL];
  store(in, x);
  for (int half = 0; half < VL; half += DL) narrow(out + half, f(widen(in + half)));
  return load(out);
}

// log(1 + x) for x from 0 to 1
static inline Vec log_plus_one(Vec x) {
  return by_halves(x, [](DoubleVec v) { return log(v + 1); });
}

// log(x): -inf at 0, NaN below, inf at inf
static inline Vec logarithm(Vec x) {
  const Vec positive = by_halves(x, [](DoubleVec v) { return log(v > 0 ? v : DoubleVec{} + 1); });
  const Vec special = x == 0 ? splat(-INFINITY) : x < 0 ? splat(NAN) : x;  // NaN stays
  return x > 0 && x < INFINITY ? positive : special;
}

// x^p as powf: in double where nothing is negative or infinite, lane by lane elsewhere.
static inline Vec power(Vec x, Vec p) {
  const IntVec plain = (reinterpret_cast<IntVec>(x) >= 0) & (x < INFINITY) & (absolute(p) < 1e30f);
  bool all = true;
  for (int lane = 0; lane < VL; lane++) all = all && plain[lane];
  Vec y;
  if (!all) {
    for (int lane = 0; lane < VL; lane++) y[lane] = powf(x[lane], p[lane]);
    return y;
  }
  alignas(64) float base[VL], exponent[VL], out[VL];
  store(base, x > 0 ? x : splat(1));
  store(exponent, p);
  for (int half = 0; half < VL; half += DL) {
    const DoubleVec e = log(widen(base + half)) * widen(exponent + half);
    narrow(out + half, exp(e > 700 ? DoubleVec{} + 700 : e));
  }
  const Vec of_zero = p > 0 ? Vec{} : p < 0 ? splat(INFINITY) : splat(1);
  return x > 0 ? load(out) : of_zero;
}

}  // namespace PL_ISA
}  // namespace partlens
