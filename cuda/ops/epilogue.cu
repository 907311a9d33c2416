// The end of a convolution: y = f(y + residual), in place.
//   in   y, residual (N, O, P, Q)           out  y
//   cost reads one or two, writes one element each; memory bound
#include "epilogue.h"

#include "activation.h"

namespace partlens {
namespace cuda {

struct Same {
  __device__ float operator()(float v) const { return v; }
};
struct Positive {
  __device__ float operator()(float v) const { return v <= 0 ? 0 : v; }  // NaN stays
};
struct Between {
  float low, high;
  __device__ float operator()(float v) const { return clamp1(v, low, high); }
};
template <int KIND>
struct Function {
  float alpha, beta;
  __device__ float operator()(float v) const { return activate<KIND>(v, alpha, beta); }
};

template <class F>
struct EndEach {
  float* y;
  const float* residual;  // or nullptr
  F f;
  __device__ void operator()(long i) const {
    float4 v = load4(y + i * 4);
    if (residual) v = add4(v, load4(residual + i * 4));
    store4(y + i * 4, map4(v, f));
  }
};

template <class F>
static void end_with(Device& device, const PlTensor& y, const PlTensor& residual, F f) {
  for_each(device, elements(y) / 4, EndEach<F>{f32(y), f32(residual), f});
}

void end_convolution(Device& device, const PlTensor& y, const PlTensor& residual, int activation,
                     float alpha, float beta) {
  if (activation == 0) {
    if (residual.data) end_with(device, y, residual, Same{});
    return;
  }
  if (activation == 1) return end_with(device, y, residual, Positive{});
  if (activation == 2) return end_with(device, y, residual, Between{alpha, beta});
  switch (activation - 3) {
#define ACTIVATION(name)                                                     \
  case ACTIVATION_##name:                                                    \
    end_with(device, y, residual, Function<ACTIVATION_##name>{alpha, beta}); \
    break;
#include "kinds.def"
#undef ACTIVATION
  }
}

}  // namespace cuda
}  // namespace partlens
