// mask_layer: keep each map near its peak, silence the rest.        [Zhang 2018]
//   in   x (N, D, n, m)                     out  y (N, D, n, m)   peak (N, D) int32
//   grid one task per image and block of 16 maps
//   cost reads x twice, writes y once; memory bound
//   y = x * max(1 - beta |[i,j] - mu|_1 / sqrt(n m), 0); backward: the same mask, a constant.
#include "mask.h"

namespace partlens {
namespace PL_ISA {

void mask_layer_forward(Device& device, const mask_layer_forward_args& t, const MaskLayerAttrs& a) {
  const int n = t.x.dims[2], m = t.x.dims[3];
  const int blocks = blocks_of(t.x.dims[1]), stride = row_stride(t.peak);
  const float* x = f32(t.x);
  float* y = f32(t.y);
  int* peak = i32(t.peak);
  const float beta = a.beta;
  parallel_for(device, t.x.dims[0] * blocks, [=](int task, int) {
    const long at = (long)task * n * m * BLOCK;
    int* mu = peak + (long)(task / blocks) * stride + task % blocks * BLOCK;
    find_peaks(x + at, n * m, mu);
    apply_mask(x + at, mu, nullptr, y + at, n, m, beta);
  });
}

void mask_layer_backward(Device& device, const mask_layer_backward_args& t, const MaskAttrs& a) {
  const int n = t.g.dims[2], m = t.g.dims[3];
  const int blocks = blocks_of(t.g.dims[1]), stride = row_stride(t.peak);
  const float *g = f32(t.g), *gate = f32(t.gate);
  const int* peak = i32(t.peak);
  float* dx = f32(t.dx);
  const float beta = a.beta;
  parallel_for(device, t.g.dims[0] * blocks, [=](int task, int) {
    const long at = (long)task * n * m * BLOCK;
    const int* mu = peak + (long)(task / blocks) * stride + task % blocks * BLOCK;
    apply_mask(g + at, mu, gate ? gate + at : nullptr, dx + at, n, m, beta);
  });
}

}  // namespace PL_ISA
}  // namespace partlens
