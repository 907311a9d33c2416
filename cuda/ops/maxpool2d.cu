// maxpool2d: largest value of each window, and where it was.
//   in   x (N, C, H, W)            out  y (N, C, P, Q)   index (N, C, P, Q) int32: cell of H*W
//   grid four channels of one output pixel per thread
//   cost reads each window once; memory bound. Backward gathers, so that it needs no atomics.
//   Padding never wins; a NaN does. Ties: the first cell in row-major order.
#include "../cuda_kernels.h"

namespace partlens {
namespace cuda {

struct MaxWindow {
  const float* x;
  float* y;
  int* index;  // or nullptr
  int C, channels, H, W, P, Q;
  Pool2dAttrs a;

  static __device__ void take(float v, int at, float& best, int& where) {
    const bool wins = !(v <= best) && best == best;
    where = wins ? at : where;
    best = wins ? v : best;
  }
  __device__ void operator()(long i) const {
    const int c = (int)(i % (C / 4)) * 4;
    const long pixel = i / (C / 4);
    const int q = (int)(pixel % Q), p = (int)(pixel / Q % P), n = (int)(pixel / Q / P);
    const int top = p * a.stride_h - a.pad_top, left = q * a.stride_w - a.pad_left;
    const int y0 = max(top, 0), y1 = min(top + a.kernel_h, H);
    const int x0 = max(left, 0), x1 = min(left + a.kernel_w, W);
    float4 best = make_float4(-INFINITY, -INFINITY, -INFINITY, -INFINITY);
    const int first = y0 * W + x0;
    int4 where = make_int4(first, first, first, first);
    for (int h = y0; h < y1; h++) {
      for (int w = x0; w < x1; w++) {
        const int cell = h * W + w;
        const float4 v = load4(x + ((long)n * H * W + cell) * C + c);
        take(v.x, cell, best.x, where.x);
        take(v.y, cell, best.y, where.y);
        take(v.z, cell, best.z, where.z);
        take(v.w, cell, best.w, where.w);
      }
    }
    store4(y + i * 4, best);
    if (!index) return;
    if (c + 1 >= channels) where.y = 0;
    if (c + 2 >= channels) where.z = 0;
    if (c + 3 >= channels) where.w = 0;
    store4(index + i * 4, where);
  }
};

void maxpool2d_forward(Device& device, const maxpool2d_forward_args& t, const Pool2dAttrs& a) {
  const int C = t.x.dims[1];
  for_each(device, elements(t.y) / 4,
           MaxWindow{f32(t.x), f32(t.y), i32(t.index), padded(C), C, t.x.dims[2], t.x.dims[3],
                     t.y.dims[2], t.y.dims[3], a});
}

// dx of one cell: the gradients of the windows that hold it and chose it.
struct MaxPoolGradient {
  const float* g;
  const int* index;
  float* dx;
  int C, H, W, P, Q;
  Pool2dAttrs a;

  __device__ void operator()(long i) const {
    const int c = (int)(i % (C / 4)) * 4;
    const long pixel = i / (C / 4);
    const int w = (int)(pixel % W), h = (int)(pixel / W % H), n = (int)(pixel / W / H);
    const int cell = h * W + w, y = h + a.pad_top, x = w + a.pad_left;
    const int p0 = y < a.kernel_h ? 0 : (y - a.kernel_h) / a.stride_h + 1;
    const int q0 = x < a.kernel_w ? 0 : (x - a.kernel_w) / a.stride_w + 1;
    const int p1 = min(y / a.stride_h, P - 1), q1 = min(x / a.stride_w, Q - 1);
    float4 sum = make_float4(0, 0, 0, 0);
    for (int p = p0; p <= p1; p++) {
      for (int q = q0; q <= q1; q++) {
        const long at = (((long)n * P + p) * Q + q) * C + c;
        const int4 chosen = load4(index + at);
        const float4 v = load4(g + at);
        if (chosen.x == cell) sum.x += v.x;
        if (chosen.y == cell) sum.y += v.y;
        if (chosen.z == cell) sum.z += v.z;
        if (chosen.w == cell) sum.w += v.w;
      }
    }
    store4(dx + i * 4, sum);
  }
};

void maxpool2d_backward(Device& device, const maxpool2d_backward_args& t, const Pool2dAttrs& a) {
  for_each(device, elements(t.dx) / 4,
           MaxPoolGradient{f32(t.g), i32(t.index), f32(t.dx), padded(t.dx.dims[1]), t.dx.dims[2],
                           t.dx.dims[3], t.g.dims[2], t.g.dims[3], a});
}

}  // namespace cuda
}  // namespace partlens
