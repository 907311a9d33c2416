// slice_maps: y[n,a,p,q] = x[n, first + a step, ...], with a first and a step for each axis.
//   in   x (N, C, H, W)                     out  y (N, A, P, Q)
//   grid one task per image and block of 16 channels of what is written
//   cost reads and writes each element of y once; blocks of channels in order are copied
//   Backward writes zeros where nothing was read. [ONNX Slice]
#include "../cpu_kernels.h"
#include "lanes.h"

namespace partlens {
namespace PL_ISA {

void slice_maps_forward(Device& device, const slice_maps_forward_args& t, const SliceAttrs& a) {
  const int C = t.x.dims[1], H = t.x.dims[2], W = t.x.dims[3];
  const int A = t.y.dims[1], P = t.y.dims[2], Q = t.y.dims[3], blocks = blocks_of(A);
  const long plane = (long)H * W * BLOCK;
  const float* x = f32(t.x);
  float* y = f32(t.y);
  const SliceAttrs s = a;
  parallel_for(device, t.x.dims[0] * blocks, [=](int task, int) {
    const int a0 = task % blocks * BLOCK;
    const Lanes lanes(C, plane, [=](int lane) {
      return a0 + lane < A ? s.channel_first + (a0 + lane) * s.channel_step : -1;
    });
    const float* image = x + task / blocks * blocks_of(C) * plane;
    for (int p = 0; p < P; p++) {
      const long row = s.row_first + (long)p * s.row_step;
      lanes.copy(image + (row * W + s.column_first) * BLOCK, s.column_step,
                 y + ((long)task * P + p) * Q * BLOCK, 1, Q);
    }
  });
}

void slice_maps_backward(Device& device, const slice_maps_backward_args& t, const SliceAttrs& a) {
  const int C = t.dx.dims[1], H = t.dx.dims[2], W = t.dx.dims[3];
  const int A = t.g.dims[1], P = t.g.dims[2], Q = t.g.dims[3], blocks = blocks_of(C);
  const long plane = (long)P * Q * BLOCK;
  const float* g = f32(t.g);
  float* dx = f32(t.dx);
  const SliceAttrs s = a;
  parallel_for(device, t.dx.dims[0] * blocks, [=](int task, int) {
    const int c0 = task % blocks * BLOCK;
    const Lanes lanes(A, plane, [=](int lane) {
      const int away = c0 + lane - s.channel_first, at = away / s.channel_step;
      return c0 + lane < C && away % s.channel_step == 0 && at >= 0 && at < A ? at : -1;
    });
    const float* image = g + task / blocks * blocks_of(A) * plane;
    float* out = dx + (long)task * H * W * BLOCK;
    memset(out, 0, sizeof(float) * H * W * BLOCK);
    for (int p = 0; p < P; p++) {
      const long row = s.row_first + (long)p * s.row_step;
      lanes.copy(image + (long)p * Q * BLOCK, 1, out + (row * W + s.column_first) * BLOCK,
                 s.column_step, Q);
    }
  });
}

}  // namespace PL_ISA
}  // namespace partlens
