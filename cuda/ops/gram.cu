// gram: y[f,g] = sum over images and positions of x_f x_g; dx_f = sum_g (g[f,g] + g[g,f]) x_g.
//   in   x (N, D, H, W)  g (D, D, 1, 1)      out  y (D, D, 1, 1)  dx (N, D, H, W)
//   cost forward: the weight gradient of a 1x1 convolution of x with itself; backward: one 1x1
//        convolution
#include "../cuda_kernels.h"

namespace partlens {
namespace cuda {

static constexpr Conv2dAttrs POINTWISE = {1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0};

// to[f][g] = from[f][g] + from[g][f], zero in the padding
struct AddTurned {
  const float* from;
  float* to;
  int D, pitch;
  __device__ void operator()(long i) const {
    const long f = i / pitch, g = i % pitch;
    to[i] = g < D ? from[i] + from[g * pitch + f] : 0;
  }
};

void gram_forward(Device& device, const gram_forward_args& t, const NoAttrs&) {
  conv2d_backward_weight(device, {t.x, t.x, t.y}, POINTWISE);
}

void gram_backward(Device& device, const gram_backward_args& t, const NoAttrs&) {
  const int D = t.g.dims[0], pitch = padded(D);
  PlTensor both = t.g;
  both.data = device.scratch<float>(WEIGHT_SLOT, (size_t)D * pitch);
  for_each(device, (long)D * pitch, AddTurned{f32(t.g), f32(both), D, pitch});
  conv2d_forward(device, {t.x, both, {}, {}, t.dx}, POINTWISE);
}

}  // namespace cuda
}  // namespace partlens
