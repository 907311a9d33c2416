// maxpool2d: largest value of each window, and where it was.
//   in   x (N, C, H, W)                     out  y (N, C, P, Q)   index (N, C, P, Q) int32: cell of
//   H*W cost reads each window once; one block of 16 channels at a time Padding never wins; a NaN
//   does. Ties: the first cell in row-major order.
#include "../cpu_kernels.h"
#include "../simd/chunks.h"

namespace partlens {
namespace PL_ISA {

struct Window {
  int y0, y1, x0, x1;
};

static inline Window window_at(const Pool2dAttrs& a, int p, int q, int H, int W) {
  const int top = p * a.stride_h - a.pad_top, left = q * a.stride_w - a.pad_left;
  const int bottom = top + a.kernel_h, right = left + a.kernel_w;
  return {top < 0 ? 0 : top, bottom > H ? H : bottom, left < 0 ? 0 : left, right > W ? W : right};
}

void maxpool2d_forward(Device& device, const maxpool2d_forward_args& t, const Pool2dAttrs& a) {
  const int H = t.x.dims[2], W = t.x.dims[3], P = t.y.dims[2], Q = t.y.dims[3];
  const float* x = f32(t.x);
  float* y = f32(t.y);
  int* index = i32(t.index);
  const Pool2dAttrs attrs = a;
  const int C = t.x.dims[1], blocks = blocks_of(C);
  parallel_for(device, t.x.dims[0] * blocks, [=](int block, int) {
    const float* map = x + (long)block * H * W * BLOCK;
    const int lanes = C - block % blocks * BLOCK;  // those beyond are padding
    for (int p = 0; p < P; p++) {
      for (int q = 0; q < Q; q++) {
        const Window w = window_at(attrs, p, q, H, W);
        float best[BLOCK];
        int at[BLOCK];
        for (int c = 0; c < BLOCK; c++) {
          best[c] = -INFINITY;
          at[c] = w.y0 * W + w.x0;
        }
        for (int i = w.y0; i < w.y1; i++) {
          for (int j = w.x0; j < w.x1; j++) {
            const float* cell = map + ((long)i * W + j) * BLOCK;
            for (int c = 0; c < BLOCK; c++) {
              const bool wins = !(cell[c] <= best[c]) && best[c] == best[c];
              at[c] = wins ? i * W + j : at[c];
              best[c] = wins ? cell[c] : best[c];
            }
          }
        }
        const long out = ((long)block * P * Q + p * Q + q) * BLOCK;
        for (int c = 0; c < BLOCK; c++) y[out + c] = best[c];
        if (index) {
          for (int c = 0; c < BLOCK; c++) index[out + c] = c < lanes ? at[c] : 0;
        }
      }
    }
  });
}

void maxpool2d_backward(Device& device, const maxpool2d_backward_args& t, const Pool2dAttrs&) {
  const int HW = t.dx.dims[2] * t.dx.dims[3], PQ = t.g.dims[2] * t.g.dims[3];
  const float* g = f32(t.g);
  const int* index = i32(t.index);
  float* dx = f32(t.dx);
  parallel_for(device, t.g.dims[0] * blocks_of(t.g.dims[1]), [=](int block, int) {
    float* map = dx + (long)block * HW * BLOCK;
    memset(map, 0, sizeof(float) * HW * BLOCK);
    for (int i = 0; i < PQ; i++) {
      const long from = ((long)block * PQ + i) * BLOCK;
      for (int c = 0; c < BLOCK; c++) {
        const unsigned cell = index[from + c];  // data: a wrong program may hold anything here
        if (cell < (unsigned)HW) map[(long)cell * BLOCK + c] += g[from + c];
      }
    }
  });
}

}  // namespace PL_ISA
}  // namespace partlens
