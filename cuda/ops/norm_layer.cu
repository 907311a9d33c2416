// norm_layer: bring all filters to one strength.                    [Zhang 2018]
//   in   x (N, D, P, Q)  alpha (D)          out  y (N, D, P, Q)  factor (D)  alpha_out (D)
//   cost reads x twice, writes y once; memory bound
//   y = x * factor, factor = scale / max(alpha, floor * mean alpha), 0 where the mean is below
//   `silent`; alpha_out lives in alpha.
#include "norm_layer.h"

namespace partlens {
namespace cuda {

struct MultiplyChannels {
  const float *x, *factor;
  float* y;
  int pitch;
  __device__ void operator()(long i) const {
    store4(y + i * 4, times4(load4(x + i * 4), load4(factor + i * 4 % pitch)));
  }
};

void norm_layer_forward(Device& device, const norm_layer_forward_args& t, const NormLayerAttrs& a) {
  norm_factors(device, t.x, t.alpha, a, t.factor, t.alpha_out);
  for_each(device, elements(t.y) / 4,
           MultiplyChannels{f32(t.x), f32(t.factor), f32(t.y), axes_of(t.x).pitch()});
}

void norm_layer_backward(Device& device, const norm_layer_backward_args& t, const NoAttrs&) {
  for_each(device, elements(t.dx) / 4,
           MultiplyChannels{f32(t.g), f32(t.factor), f32(t.dx), axes_of(t.g).pitch()});
}

}  // namespace cuda
}  // namespace partlens
