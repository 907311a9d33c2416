// relu: y = max(x, 0); backward dx = g where y > 0.
//   in   x of any layout                    out  y like x
//   cost reads and writes each element once; memory bound
#include "../cuda_kernels.h"

namespace partlens {
namespace cuda {

struct Relu {
  const float* x;
  float* y;
  __device__ float operator()(float v) const { return v <= 0 ? 0 : v; }  // NaN stays
  __device__ void operator()(long i) const { store4(y + i * 4, map4(load4(x + i * 4), *this)); }
};

void relu_forward(Device& device, const relu_forward_args& t, const NoAttrs&) {
  for_each(device, elements(t.y) / 4, Relu{f32(t.x), f32(t.y)});
}

struct ReluBackward {
  const float *g, *y;
  float* dx;
  bool round;
  __device__ void operator()(long i) const {
    store4(dx + i * 4, round4(gate4(load4(g + i * 4), y, i * 4), round));
  }
};

void relu_backward(Device& device, const relu_backward_args& t, const RoundAttrs& a) {
  for_each(device, elements(t.dx) / 4,
           ReluBackward{f32(t.g), f32(t.y), f32(t.dx), a.round && device.rounds()});
}

}  // namespace cuda
}  // namespace partlens
