// Max-pooling of four channels at a time, for maxpool2d and mask_pool. Padding never wins; a NaN
// does. Ties: the first cell in row-major order.
#pragma once
#include "../cuda_kernels.h"

namespace partlens {
namespace cuda {

struct LargestCells {
  float4 value;
  int4 cell;

  __device__ explicit LargestCells(int first)
      : value(make_float4(-INFINITY, -INFINITY, -INFINITY, -INFINITY)),
        cell(make_int4(first, first, first, first)) {}
  __device__ void take(float4 v, int at) {
    take(v.x, at, value.x, cell.x);
    take(v.y, at, value.y, cell.y);
    take(v.z, at, value.z, cell.z);
    take(v.w, at, value.w, cell.w);
  }

 private:
  static __device__ void take(float v, int at, float& best, int& where) {
    const bool wins = !(v <= best) && best == best;
    where = wins ? at : where;
    best = wins ? v : best;
  }
};

// The first tap of a window that is no longer before the maps.
__device__ inline int first_inside(int start, int dilation) {
  return start < 0 ? start + (dilation - 1 - start) / dilation * dilation : start;
}

// The largest of at(cell), four channels, in window (p, q) of maps (H, W).
template <class Attrs, class At>
__device__ inline LargestCells largest_in_window(const Attrs& a, int p, int q, int H, int W,
                                                 At at) {
  const int top = p * a.stride_h - a.pad_top, left = q * a.stride_w - a.pad_left;
  const int y0 = first_inside(top, a.dilation_h);
  const int y1 = min(top + (a.kernel_h - 1) * a.dilation_h + 1, H);
  const int x0 = first_inside(left, a.dilation_w);
  const int x1 = min(left + (a.kernel_w - 1) * a.dilation_w + 1, W);
  LargestCells best(y0 * W + x0);
  for (int h = y0; h < y1; h += a.dilation_h) {
    for (int w = x0; w < x1; w += a.dilation_w) best.take(at(h * W + w), h * W + w);
  }
  return best;
}

// Four channels from `c` on: index = cells, 0 for padding.
__device__ inline void store_cells(int* index, long at, int4 cell, int c, int channels) {
  if (c + 1 >= channels) cell.y = 0;
  if (c + 2 >= channels) cell.z = 0;
  if (c + 3 >= channels) cell.w = 0;
  store4(index + at, cell);
}

// Where the gradient of a pooled map comes from; C: channels with padding.
template <class Attrs>
struct PoolGradient {
  const float* g;
  const int* index;
  int C, H, W, P, Q;
  Attrs a;

  // What reaches four channels, from `c` on, of one cell: from the windows that chose it.
  __device__ float4 at(int n, int cell, int c) const {
    const int y = cell / W + a.pad_top, x = cell % W + a.pad_left;
    const int down = (a.kernel_h - 1) * a.dilation_h + 1;
    const int across = (a.kernel_w - 1) * a.dilation_w + 1;
    const int p0 = y < down ? 0 : (y - down) / a.stride_h + 1;
    const int q0 = x < across ? 0 : (x - across) / a.stride_w + 1;
    const int p1 = min(y / a.stride_h, P - 1), q1 = min(x / a.stride_w, Q - 1);
    float4 sum = make_float4(0, 0, 0, 0);
    for (int p = p0; p <= p1; p++) {
      for (int q = q0; q <= q1; q++) {
        const long window = (((long)n * P + p) * Q + q) * C + c;
        const int4 chosen = load4(index + window);
        const float4 v = load4(g + window);
        if (chosen.x == cell) sum.x += v.x;
        if (chosen.y == cell) sum.y += v.y;
        if (chosen.z == cell) sum.z += v.z;
        if (chosen.w == cell) sum.w += v.w;
      }
    }
    return sum;
  }
};

}  // namespace cuda
}  // namespace partlens
