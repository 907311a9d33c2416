// norm_layer: bring all filters to one strength.                    [Zhang 2018]
//   in   x (N, D, P, Q)  alpha (D)          out  y (N, D, P, Q)  factor (D)  alpha_out (D)
//   cost reads x twice, writes y once; memory bound
//   y = x * factor, factor = scale / max(alpha, floor * mean alpha), 0 where the mean is below
//   `silent`; alpha_out lives in alpha.
#include "norm_layer.h"

namespace partlens {
namespace PL_ISA {

// y = x * factor[c]
static void multiply(Device& device, const PlTensor& from, const float* factor, float* y) {
  const int blocks = blocks_of(from.dims[1]), cells = from.dims[2] * from.dims[3];
  const float* x = f32(from);
  parallel_for(device, from.dims[0] * blocks, [=](int task, int) {
    const long at = (long)task * cells * BLOCK;
    const float* f = factor + task % blocks * BLOCK;
    for (int i = 0; i < cells; i++) {
      for (int c = 0; c < BLOCK; c++) y[at + i * BLOCK + c] = x[at + i * BLOCK + c] * f[c];
    }
  });
}

void norm_layer_forward(Device& device, const norm_layer_forward_args& t, const NormLayerAttrs& a) {
  norm_factors(device, t.x, t.alpha, a, t.factor, t.alpha_out);
  multiply(device, t.x, f32(t.factor), f32(t.y));
}

void norm_layer_backward(Device& device, const norm_layer_backward_args& t, const NoAttrs&) {
  multiply(device, t.g, f32(t.factor), f32(t.dx));
}

}  // namespace PL_ISA
}  // namespace partlens
