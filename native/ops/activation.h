// The functions of `activation` and their derivatives on vectors, by kind: for its own kernel and
// for those that apply one to what they have just computed.
//   hard_sigmoid min(max(alpha x + beta, 0), 1)   hard_swish x min(max(x / 6 + 1/2, 0), 1)
//   silu x sigmoid(x)   gelu x (1 + erf(x / sqrt 2)) / 2   leaky_relu alpha x below 0
//   gelu_tanh x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3)
//   elu alpha (exp(x) - 1) below 0   celu alpha (exp(x / alpha) - 1) below 0   selu beta elu(x)
//   softplus log(1 + exp(x))   softsign x / (1 + |x|)   mish x tanh(softplus(x))   power x^alpha
#pragma once
#include "../simd/vec_math.h"

namespace partlens {
namespace PL_ISA {

#define ACTIVATION(name) ACTIVATION_##name,
enum Activation {
#include "../kinds.def"
  ACTIVATION_KINDS
};
#undef ACTIVATION

static inline Vec clamp(Vec x, float low, float high) {
  return x < low ? splat(low) : x > high ? splat(high) : x;
}
static inline Vec sigmoid(Vec x) {
  const Vec e = exp_of_negative(-absolute(x));
  return (x < 0 ? e : splat(1)) / (1 + e);
}
// x / (1 + exp(-x)): what is left below -87 is nothing, and beyond 87 exp(-x) is.
static inline Vec silu(Vec x) {
  const Vec above = x < -87 ? splat(-87) : x;
  return above / (1 + exp_in_range(above > 87 ? splat(-87) : -above));
}
static inline Vec hyperbolic_tangent(Vec x) {
  const Vec e = exp_minus_one(-2 * absolute(x)), t = -e / (2 + e);
  return x < 0 ? -t : t;
}
// exp(x) of any x: halves of the exponent, so that neither end of the range is lost.
static inline Vec exponential(Vec x) {
  const Vec half = exp(clamp(x, -104, 89) * 0.5f);
  return half * half;
}
// tanh(softplus(x)) = n / (n + 2), n = e^x (e^x + 2); 1 in float32 from x = 20 on
static inline Vec mish_gate(Vec x) {
  const Vec e = exp_of_negative(x > 20 ? splat(20) : x), n = e * (e + 2);
  return n / (n + 2);
}
static inline Vec gelu_share(Vec x) { return 0.5f + 0.5f * erf(x * 0.707106781f); }

constexpr float GELU_SLOPE = 1.59576912f, GELU_CUBE = 0.0713548163f;  // 2 u = SLOPE x + CUBE x^3
static inline Vec gelu_tanh_share(Vec x) {
  const Vec t = clamp(x, -30, 30);
  return sigmoid(t * (GELU_SLOPE + GELU_CUBE * t * t));
}

template <int KIND>
static inline Vec activate(Vec x, float alpha, float beta) {
  if constexpr (KIND == ACTIVATION_sigmoid) return sigmoid(x);
  if constexpr (KIND == ACTIVATION_tanh) return hyperbolic_tangent(x);
  if constexpr (KIND == ACTIVATION_hard_sigmoid) return clamp(alpha * x + beta, 0, 1);
  if constexpr (KIND == ACTIVATION_hard_swish) return x * clamp(x * (1 / 6.0f) + 0.5f, 0, 1);
  if constexpr (KIND == ACTIVATION_silu) return silu(x);
  if constexpr (KIND == ACTIVATION_gelu) return x * gelu_share(x);
  if constexpr (KIND == ACTIVATION_gelu_tanh) return x * gelu_tanh_share(x);
  if constexpr (KIND == ACTIVATION_leaky_relu) return x < 0 ? alpha * x : x;
  if constexpr (KIND == ACTIVATION_elu) return x < 0 ? alpha * exp_minus_one(x) : x;
  if constexpr (KIND == ACTIVATION_celu) return x < 0 ? alpha * exp_minus_one(x / alpha) : x;
  if constexpr (KIND == ACTIVATION_selu) return beta * (x < 0 ? alpha * exp_minus_one(x) : x);
  if constexpr (KIND == ACTIVATION_softplus)
    return positive(x) + log_plus_one(exp_of_negative(-absolute(x)));
  if constexpr (KIND == ACTIVATION_softsign) return x / (1 + absolute(x));
  if constexpr (KIND == ACTIVATION_mish) return x * mish_gate(x);
  if constexpr (KIND == ACTIVATION_exp) return exponential(x);
  if constexpr (KIND == ACTIVATION_log) return logarithm(x);
  if constexpr (KIND == ACTIVATION_sqrt) return square_root(x);
  if constexpr (KIND == ACTIVATION_reciprocal) return 1 / x;
  if constexpr (KIND == ACTIVATION_abs) return absolute(x);
  if constexpr (KIND == ACTIVATION_neg) return -x;
  if constexpr (KIND == ACTIVATION_erf) return erf(x);
  if constexpr (KIND == ACTIVATION_square) return x * x;
  if constexpr (KIND == ACTIVATION_power) return power(x, splat(alpha));
}

// d activate / d x; at a kink the derivative from above, at 0 of abs 0.
template <int KIND>
static inline Vec activation_slope(Vec x, float alpha, float beta) {
  if constexpr (KIND == ACTIVATION_sigmoid) {
    const Vec e = exp_of_negative(-absolute(x));
    return e / ((1 + e) * (1 + e));
  }
  if constexpr (KIND == ACTIVATION_tanh) {
    const Vec t = hyperbolic_tangent(x);
    return 1 - t * t;
  }
  if constexpr (KIND == ACTIVATION_hard_sigmoid) {
    const Vec v = alpha * x + beta;
    return v > 0 && v < 1 ? splat(alpha) : Vec{};
  }
  if constexpr (KIND == ACTIVATION_hard_swish)
    return x <= -3 ? Vec{} : x >= 3 ? splat(1) : x * (1 / 3.0f) + 0.5f;
  if constexpr (KIND == ACTIVATION_silu) {
    const Vec s = sigmoid(x);
    return s * (1 + x * sigmoid(-x));
  }
  if constexpr (KIND == ACTIVATION_gelu)
    return gelu_share(x) + x * exp_of_negative(-0.5f * x * x) * 0.398942280f;
  if constexpr (KIND == ACTIVATION_gelu_tanh) {
    const Vec t = clamp(x, -30, 30), s = gelu_tanh_share(t);
    return s + t * s * (1 - s) * (GELU_SLOPE + 3 * GELU_CUBE * t * t);
  }
  if constexpr (KIND == ACTIVATION_leaky_relu) return x < 0 ? splat(alpha) : splat(1);
  if constexpr (KIND == ACTIVATION_elu) return x < 0 ? alpha * exp_of_negative(x) : splat(1);
  if constexpr (KIND == ACTIVATION_celu) return x < 0 ? exponential(x / alpha) : splat(1);
  if constexpr (KIND == ACTIVATION_selu)
    return beta * (x < 0 ? alpha * exp_of_negative(x) : splat(1));
  if constexpr (KIND == ACTIVATION_softplus) return sigmoid(x);
  if constexpr (KIND == ACTIVATION_softsign) {
    const Vec v = 1 + absolute(x);
    return 1 / (v * v);
  }
  if constexpr (KIND == ACTIVATION_mish) {
    const Vec gate = mish_gate(x);
    return gate + x * (1 - gate * gate) * sigmoid(x);
  }
  if constexpr (KIND == ACTIVATION_exp) return exponential(x);
  if constexpr (KIND == ACTIVATION_log) return 1 / x;
  if constexpr (KIND == ACTIVATION_sqrt) return 0.5f / square_root(x);
  if constexpr (KIND == ACTIVATION_reciprocal) return -1 / (x * x);
  if constexpr (KIND == ACTIVATION_abs) return x > 0 ? splat(1) : x < 0 ? splat(-1) : Vec{};
  if constexpr (KIND == ACTIVATION_neg) return splat(-1);
  if constexpr (KIND == ACTIVATION_erf) return 1.12837917f * exp_of_negative(-x * x);
  if constexpr (KIND == ACTIVATION_square) return 2 * x;
  if constexpr (KIND == ACTIVATION_power)
    return alpha == 0 ? Vec{} : alpha * power(x, splat(alpha - 1));
}

// Calls body(kind) with the kind as a constant: `decltype(kind)::VALUE`.
template <int KIND>
struct KindOf {
  static constexpr int VALUE = KIND;
};
template <class Body>
static void with_activation(int kind, Body body) {
  switch (kind) {
#define ACTIVATION(name)               \
  case ACTIVATION_##name:              \
    body(KindOf<ACTIVATION_##name>{}); \
    return;
#include "../kinds.def"
#undef ACTIVATION
  }
}

// Whether 0, which fills padding lanes, becomes something else.
static inline bool moves_zero(int kind) {
  switch (kind) {
    case ACTIVATION_sigmoid:
    case ACTIVATION_hard_sigmoid:
    case ACTIVATION_softplus:
    case ACTIVATION_exp:
    case ACTIVATION_log:
    case ACTIVATION_reciprocal:
    case ACTIVATION_power:
      return true;
  }
  return false;
}

}  // namespace PL_ISA
}  // namespace partlens
