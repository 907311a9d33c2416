// maxpool2d: largest value of each window, and where it was.
//   in   x (N, C, H, W)            out  y (N, C, P, Q)   index (N, C, P, Q) int32: cell of H*W
//   grid four channels of one output pixel per thread
//   cost reads each window once; memory bound. Backward gathers, so that it needs no atomics.
#include "maxpool2d.h"

namespace partlens {
namespace cuda {

struct MaxWindow {
  const float* x;
  float* y;
  int* index;  // or nullptr
  int C, channels, H, W, P, Q;
  Pool2dAttrs a;

  __device__ void operator()(long i) const {
    const int c = (int)(i % (C / 4)) * 4;
    const long pixel = i / (C / 4);
    const int q = (int)(pixel % Q), p = (int)(pixel / Q % P);
    const float* maps = x + pixel / Q / P * H * W * C + c;
    const LargestCells best =
        largest_in_window(a, p, q, H, W, [&](int cell) { return load4(maps + (long)cell * C); });
    store4(y + i * 4, best.value);
    if (index) store_cells(index, i * 4, best.cell, c, channels);
  }
};

void maxpool2d_forward(Device& device, const maxpool2d_forward_args& t, const Pool2dAttrs& a) {
  const int C = t.x.dims[1];
  for_each(device, elements(t.y) / 4,
           MaxWindow{f32(t.x), f32(t.y), i32(t.index), padded(C), C, t.x.dims[2], t.x.dims[3],
                     t.y.dims[2], t.y.dims[3], a});
}

struct MaxPoolBackward {
  PoolGradient<Pool2dAttrs> gradient;
  const float* gate;  // or nullptr
  float* dx;
  __device__ void operator()(long i) const {
    const int C = gradient.C, cells = gradient.H * gradient.W;
    const long pixel = i / (C / 4);
    const int c = (int)(i % (C / 4)) * 4;
    const float4 sum = gradient.at((int)(pixel / cells), (int)(pixel % cells), c);
    store4(dx + i * 4, gate4(sum, gate, i * 4));
  }
};

void maxpool2d_backward(Device& device, const maxpool2d_backward_args& t, const Pool2dAttrs& a) {
  const PoolGradient<Pool2dAttrs> gradient = {
      f32(t.g),     i32(t.index), padded(t.dx.dims[1]), t.dx.dims[2],
      t.dx.dims[3], t.g.dims[2],  t.g.dims[3],          a};
  for_each(device, elements(t.dx) / 4, MaxPoolBackward{gradient, f32(t.gate), f32(t.dx)});
}

}  // namespace cuda
}  // namespace partlens
