// activation: y = f(x), one of the functions of activation.h; backward dx = f'(x) g.
//   in   x of any layout                    out  y like x
//   cost reads one or two, writes one element each; memory bound
#include "activation.h"

#include "../cuda_kernels.h"

namespace partlens {
namespace cuda {

template <int KIND>
struct Activate {
  const float *g, *x;  // g: or nullptr, forward
  float* y;
  float alpha, beta;
  Axes axes;
  __device__ float operator()(float v) const { return activate<KIND>(v, alpha, beta); }
  __device__ float operator()(float v, float g) const {
    return activation_slope<KIND>(v, alpha, beta) * g;
  }
  __device__ void operator()(long i) const {
    const float4 in = load4(x + i * 4);
    const float4 out = g ? map4(in, load4(g + i * 4), *this) : map4(in, *this);
    store4(y + i * 4, without_padding(out, axes, i));
  }
};

static void run(Device& device, const PlTensor& g, const PlTensor& x, const PlTensor& y,
                const ActivationAttrs& a) {
  switch (a.kind) {
#define ACTIVATION(name)                                                                        \
  case ACTIVATION_##name:                                                                       \
    for_each(device, elements(y) / 4,                                                           \
             Activate<ACTIVATION_##name>{f32(g), f32(x), f32(y), a.alpha, a.beta, axes_of(y)}); \
    break;
#include "kinds.def"
#undef ACTIVATION
  }
}

void activation_forward(Device& device, const activation_forward_args& t,
                        const ActivationAttrs& a) {
  run(device, PlTensor{}, t.x, t.y, a);
}

void activation_backward(Device& device, const activation_backward_args& t,
                         const ActivationAttrs& a) {
  run(device, t.g, t.x, t.dx, a);
}

}  // namespace cuda
}  // namespace partlens
