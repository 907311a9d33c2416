// The functions of `activation` and their derivatives, by kind: the same as
// native/ops/activation.h, whose head lists them.
#pragma once
#include <math.h>

#include "../launch.h"

namespace partlens {
namespace cuda {

#define ACTIVATION(name) ACTIVATION_##name,
enum Activation {
#include "kinds.def"
  ACTIVATION_KINDS
};
#undef ACTIVATION

__device__ __forceinline__ float clamp1(float x, float low, float high) {
  return x < low ? low : x > high ? high : x;
}
__device__ __forceinline__ float sigmoid1(float x) {
  const float e = expf(-fabsf(x));
  return (x < 0 ? e : 1) / (1 + e);
}
// tanh(softplus(x)) = n / (n + 2), n = e^x (e^x + 2); 1 in float32 from x = 20 on
__device__ __forceinline__ float mish_gate(float x) {
  const float e = expf(x > 20 ? 20 : x), n = e * (e + 2);
  return n / (n + 2);
}
__device__ __forceinline__ float gelu_share(float x) {
  return 0.5f + 0.5f * erff(x * 0.707106781f);
}

constexpr float GELU_SLOPE = 1.59576912f, GELU_CUBE = 0.0713548163f;  // 2 u = SLOPE x + CUBE x^3
__device__ __forceinline__ float gelu_tanh_share(float x) {
  const float t = clamp1(x, -30, 30);
  return sigmoid1(t * (GELU_SLOPE + GELU_CUBE * t * t));
}

template <int KIND>
__device__ __forceinline__ float activate(float x, float alpha, float beta) {
  if constexpr (KIND == ACTIVATION_sigmoid) return sigmoid1(x);
  if constexpr (KIND == ACTIVATION_tanh) return tanhf(x);
  if constexpr (KIND == ACTIVATION_hard_sigmoid) return clamp1(alpha * x + beta, 0, 1);
  if constexpr (KIND == ACTIVATION_hard_swish) return x * clamp1(x * (1 / 6.0f) + 0.5f, 0, 1);
  if constexpr (KIND == ACTIVATION_silu) return x * sigmoid1(x);
  if constexpr (KIND == ACTIVATION_gelu) return x * gelu_share(x);
  if constexpr (KIND == ACTIVATION_gelu_tanh) return x * gelu_tanh_share(x);
  if constexpr (KIND == ACTIVATION_leaky_relu) return x < 0 ? alpha * x : x;
  if constexpr (KIND == ACTIVATION_elu) return x < 0 ? alpha * expm1f(x) : x;
  if constexpr (KIND == ACTIVATION_celu) return x < 0 ? alpha * expm1f(x / alpha) : x;
  if constexpr (KIND == ACTIVATION_selu) return beta * (x < 0 ? alpha * expm1f(x) : x);
  if constexpr (KIND == ACTIVATION_softplus) return fmaxf(x, 0) + log1pf(expf(-fabsf(x)));
  if constexpr (KIND == ACTIVATION_softsign) return x / (1 + fabsf(x));
  if constexpr (KIND == ACTIVATION_mish) return x * mish_gate(x);
  if constexpr (KIND == ACTIVATION_exp) return expf(x);
  if constexpr (KIND == ACTIVATION_log) return logf(x);
  if constexpr (KIND == ACTIVATION_sqrt) return sqrtf(x);
  if constexpr (KIND == ACTIVATION_reciprocal) return 1 / x;
  if constexpr (KIND == ACTIVATION_abs) return fabsf(x);
  if constexpr (KIND == ACTIVATION_neg) return -x;
  if constexpr (KIND == ACTIVATION_erf) return erff(x);
  if constexpr (KIND == ACTIVATION_square) return x * x;
  if constexpr (KIND == ACTIVATION_power) return powf(x, alpha);
}

// d activate / d x; at a kink the derivative from above, at 0 of abs 0.
template <int KIND>
__device__ __forceinline__ float activation_slope(float x, float alpha, float beta) {
  if constexpr (KIND == ACTIVATION_sigmoid) {
    const float e = expf(-fabsf(x));
    return e / ((1 + e) * (1 + e));
  }
  if constexpr (KIND == ACTIVATION_tanh) {
    const float t = tanhf(x);
    return 1 - t * t;
  }
  if constexpr (KIND == ACTIVATION_hard_sigmoid) {
    const float v = alpha * x + beta;
    return v > 0 && v < 1 ? alpha : 0;
  }
  if constexpr (KIND == ACTIVATION_hard_swish)
    return x <= -3 ? 0 : x >= 3 ? 1 : x * (1 / 3.0f) + 0.5f;
  if constexpr (KIND == ACTIVATION_silu) return sigmoid1(x) * (1 + x * sigmoid1(-x));
  if constexpr (KIND == ACTIVATION_gelu)
    return gelu_share(x) + x * expf(-0.5f * x * x) * 0.398942280f;
  if constexpr (KIND == ACTIVATION_gelu_tanh) {
    const float t = clamp1(x, -30, 30), s = gelu_tanh_share(t);
    return s + t * s * (1 - s) * (GELU_SLOPE + 3 * GELU_CUBE * t * t);
  }
  if constexpr (KIND == ACTIVATION_leaky_relu) return x < 0 ? alpha : 1;
  if constexpr (KIND == ACTIVATION_elu) return x < 0 ? alpha * expf(x) : 1;
  if constexpr (KIND == ACTIVATION_celu) return x < 0 ? expf(x / alpha) : 1;
  if constexpr (KIND == ACTIVATION_selu) return beta * (x < 0 ? alpha * expf(x) : 1);
  if constexpr (KIND == ACTIVATION_softplus) return sigmoid1(x);
  if constexpr (KIND == ACTIVATION_softsign) {
    const float v = 1 + fabsf(x);
    return 1 / (v * v);
  }
  if constexpr (KIND == ACTIVATION_mish) {
    const float gate = mish_gate(x);
    return gate + x * (1 - gate * gate) * sigmoid1(x);
  }
  if constexpr (KIND == ACTIVATION_exp) return expf(x);
  if constexpr (KIND == ACTIVATION_log) return 1 / x;
  if constexpr (KIND == ACTIVATION_sqrt) return 0.5f / sqrtf(x);
  if constexpr (KIND == ACTIVATION_reciprocal) return -1 / (x * x);
  if constexpr (KIND == ACTIVATION_abs) return x > 0 ? 1 : x < 0 ? -1 : 0;
  if constexpr (KIND == ACTIVATION_neg) return -1;
  if constexpr (KIND == ACTIVATION_erf) return 1.12837917f * expf(-x * x);
  if constexpr (KIND == ACTIVATION_square) return 2 * x;
  if constexpr (KIND == ACTIVATION_power) return alpha == 0 ? 0 : alpha * powf(x, alpha - 1);
}

}  // namespace cuda
}  // namespace partlens
