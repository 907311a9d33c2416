// mask_pool: mask_layer and max-pooling in one pass; the masked maps are never written.
//   in   x (N, D, n, m)   out  y (N, D, P, Q)   index (N, D, P, Q) int32   peak (N, D) int32
//   grid one task per image and block of 16 maps, masked in the task's own n*m*16 floats
//   cost reads x once, writes y and index; memory bound
#include "mask.h"
#include "maxpool2d.h"

namespace partlens {
namespace PL_ISA {

void mask_pool_forward(Device& device, const mask_pool_forward_args& t, const MaskPoolAttrs& a) {
  const int n = t.x.dims[2], m = t.x.dims[3], P = t.y.dims[2], Q = t.y.dims[3];
  const int D = t.x.dims[1], blocks = blocks_of(D), stride = row_stride(t.peak);
  const long size = (long)n * m * BLOCK, pooled = (long)P * Q * BLOCK;
  const float* x = f32(t.x);
  float *y = f32(t.y), *masked = device.scratch(0, device.threads() * size);
  int *peak = i32(t.peak), *index = i32(t.index);
  const MaskPoolAttrs attrs = a;
  parallel_for(device, t.x.dims[0] * blocks, [=](int task, int worker) {
    const float* maps = x + task * size;
    float* own = masked + worker * size;
    int* mu = peak + (long)(task / blocks) * stride + task % blocks * BLOCK;
    find_peaks(maps, n * m, mu);
    apply_mask(maps, mu, nullptr, own, n, m, attrs.beta);
    pool_maps(own, n, m, P, Q, attrs, y + task * pooled, index ? index + task * pooled : nullptr,
              D - task % blocks * BLOCK);
  });
}

void mask_pool_backward(Device& device, const mask_pool_backward_args& t, const MaskPoolAttrs& a) {
  const int n = t.dx.dims[2], m = t.dx.dims[3], windows = t.g.dims[2] * t.g.dims[3];
  const int blocks = blocks_of(t.g.dims[1]), stride = row_stride(t.peak);
  const float *g = f32(t.g), *gate = f32(t.gate);
  const int *index = i32(t.index), *peak = i32(t.peak);
  float* dx = f32(t.dx);
  const float beta = a.beta;
  parallel_for(device, t.g.dims[0] * blocks, [=](int task, int) {
    const long at = (long)task * n * m * BLOCK, from = (long)task * windows * BLOCK;
    const int* mu = peak + (long)(task / blocks) * stride + task % blocks * BLOCK;
    unpool_maps(g + from, index + from, windows, dx + at, n * m);
    apply_mask(dx + at, mu, gate ? gate + at : nullptr, dx + at, n, m, beta);
  });
}

}  // namespace PL_ISA
}  // namespace partlens
