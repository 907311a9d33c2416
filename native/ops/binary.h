// The functions of `binary` and their derivatives on vectors.
#pragma once
#include "../simd/vec_math.h"

namespace partlens {
namespace PL_ISA {

#define BINARY(name) BINARY_##name,
enum Binary {
#include "../kinds.def"
  BINARY_KINDS
};
#undef BINARY

template <int KIND>
static inline Vec combine(Vec a, Vec b) {
  if constexpr (KIND == BINARY_add) return a + b;
  if constexpr (KIND == BINARY_sub) return a - b;
  if constexpr (KIND == BINARY_mul) return a * b;
  if constexpr (KIND == BINARY_div) return a / b;
  if constexpr (KIND == BINARY_max) return (a < b) | (b != b) ? b : a;  // NaN of either stays
  if constexpr (KIND == BINARY_min) return (a > b) | (b != b) ? b : a;
  if constexpr (KIND == BINARY_pow) return power(a, b);
}

// g times the derivative by a, or by b. Where max and min tie, all of it is a's.
template <int KIND, bool BY_B>
static inline Vec combine_gradient(Vec g, Vec a, Vec b) {
  if constexpr (KIND == BINARY_add) return g;
  if constexpr (KIND == BINARY_sub) return BY_B ? -g : g;
  if constexpr (KIND == BINARY_mul) return g * (BY_B ? a : b);
  if constexpr (KIND == BINARY_div) return BY_B ? -(g / b) * (a / b) : g / b;
  if constexpr (KIND == BINARY_max) return BY_B ? (a < b ? g : Vec{}) : (a < b ? Vec{} : g);
  if constexpr (KIND == BINARY_min) return BY_B ? (a > b ? g : Vec{}) : (a > b ? Vec{} : g);
  if constexpr (KIND == BINARY_pow && BY_B) return a == 0 ? Vec{} : g * power(a, b) * logarithm(a);
  if constexpr (KIND == BINARY_pow) return b == 0 ? Vec{} : g * b * power(a, b - 1);
}

}  // namespace PL_ISA
}  // namespace partlens
