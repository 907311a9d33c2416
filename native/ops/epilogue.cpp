// The end of a convolution: y = f(y + residual), in place.
//   in   y, residual (N, O, P, Q), a stretch of them      out  y
//   cost nothing of memory's, as y comes from the cache; the residual is read once
#include "epilogue.h"

#include "activation.h"

namespace partlens {
namespace PL_ISA {

namespace {

template <class F>
void apply(float* y, const float* residual, long count, F f) {
  if (residual) {
    for (long i = 0; i < count; i += VL) store(y + i, f(load(y + i) + load(residual + i)));
  } else {
    for (long i = 0; i < count; i += VL) store(y + i, f(load(y + i)));
  }
}

}  // namespace

void Epilogue::run(long at, long count) const {
  const float* r = residual ? residual + at : nullptr;
  float* out = y + at;
  const float low = alpha, high = beta;
  if (activation == ENDING_NONE) return apply(out, r, count, [](Vec v) { return v; });
  if (activation == ENDING_RELU) return apply(out, r, count, [](Vec v) { return positive(v); });
  if (activation == ENDING_CLIP) {
    return apply(out, r, count, [=](Vec v) { return clamp(v, low, high); });
  }
  with_activation(activation - ENDING_FUNCTIONS, [&](auto kind) {
    apply(out, r, count, [=](Vec v) { return activate<decltype(kind)::VALUE>(v, low, high); });
  });
}

}  // namespace PL_ISA
}  // namespace partlens
