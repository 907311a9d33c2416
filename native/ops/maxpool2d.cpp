// maxpool2d: largest value of each window, and where it was.
//   in   x (N, C, H, W)        out  y (N, C, P, Q)   index (N, C, P, Q) int32: cell of H*W
//   grid one task per image and block of 16 channels
//   cost reads each window once; memory bound
#include "maxpool2d.h"

namespace partlens {
namespace PL_ISA {

void maxpool2d_forward(Device& device, const maxpool2d_forward_args& t, const Pool2dAttrs& a) {
  const int H = t.x.dims[2], W = t.x.dims[3], P = t.y.dims[2], Q = t.y.dims[3];
  const float* x = f32(t.x);
  float* y = f32(t.y);
  int* index = i32(t.index);
  const Pool2dAttrs attrs = a;
  const int C = t.x.dims[1], blocks = blocks_of(C);
  parallel_for(device, t.x.dims[0] * blocks, [=](int block, int) {
    const long out = (long)block * P * Q * BLOCK;
    pool_maps(x + (long)block * H * W * BLOCK, H, W, P, Q, attrs, y + out,
              index ? index + out : nullptr, C - block % blocks * BLOCK);
  });
}

void maxpool2d_backward(Device& device, const maxpool2d_backward_args& t, const Pool2dAttrs&) {
  const int HW = t.dx.dims[2] * t.dx.dims[3], PQ = t.g.dims[2] * t.g.dims[3];
  const float *g = f32(t.g), *gate = f32(t.gate);
  const int* index = i32(t.index);
  float* dx = f32(t.dx);
  parallel_for(device, t.g.dims[0] * blocks_of(t.g.dims[1]), [=](int block, int) {
    const long at = (long)block * HW * BLOCK, from = (long)block * PQ * BLOCK;
    unpool_maps(g + from, index + from, PQ, dx + at, HW);
    if (!gate) return;
    for (long i = at; i < at + (long)HW * BLOCK; i++) dx[i] = gate[i] > 0 ? dx[i] : 0;
  });
}

}  // namespace PL_ISA
}  // namespace partlens
