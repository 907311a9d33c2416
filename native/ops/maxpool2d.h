// Max-pooling of 16 maps of one image, for maxpool2d and mask_pool. Padding never wins; a NaN does.
// Ties: the first cell in row-major order.
#pragma once
#include "../cpu_kernels.h"

namespace partlens {
namespace PL_ISA {

// The first tap of a window that is no longer before the maps.
static inline int first_inside(int start, int dilation) {
  return start < 0 ? start + (dilation - 1 - start) / dilation * dilation : start;
}

// The largest cell of each window of maps (H, W): y, and its place in `index` if that is there.
// Lanes from `lanes` on are padding.
template <class Attrs>
static void pool_maps(const float* maps, int H, int W, int P, int Q, const Attrs& a, float* y,
                      int* index, int lanes) {
  for (int p = 0; p < P; p++) {
    const int top = p * a.stride_h - a.pad_top, bottom = top + (a.kernel_h - 1) * a.dilation_h + 1;
    const int y0 = first_inside(top, a.dilation_h), y1 = bottom > H ? H : bottom;
    for (int q = 0; q < Q; q++) {
      const int left = q * a.stride_w - a.pad_left;
      const int right = left + (a.kernel_w - 1) * a.dilation_w + 1;
      const int x0 = first_inside(left, a.dilation_w), x1 = right > W ? W : right;
      float best[BLOCK];
      int at[BLOCK];
      for (int c = 0; c < BLOCK; c++) {
        best[c] = -INFINITY;
        at[c] = y0 * W + x0;
      }
      for (int i = y0; i < y1; i += a.dilation_h) {
        for (int j = x0; j < x1; j += a.dilation_w) {
          const float* cell = maps + ((long)i * W + j) * BLOCK;
          for (int c = 0; c < BLOCK; c++) {
            const bool wins = !(cell[c] <= best[c]) && best[c] == best[c];
            at[c] = wins ? i * W + j : at[c];
            best[c] = wins ? cell[c] : best[c];
          }
        }
      }
      const long out = ((long)p * Q + q) * BLOCK;
      for (int c = 0; c < BLOCK; c++) y[out + c] = best[c];
      if (index) {
        for (int c = 0; c < BLOCK; c++) index[out + c] = c < lanes ? at[c] : 0;
      }
    }
  }
}

// Gradients of the windows to the cells that they chose.
static inline void unpool_maps(const float* g, const int* index, int windows, float* maps,
                               int cells) {
  memset(maps, 0, sizeof(float) * cells * BLOCK);
  for (int i = 0; i < windows; i++) {
    const long from = (long)i * BLOCK;
    for (int c = 0; c < BLOCK; c++) {
      const unsigned cell = index[from + c];  // data: a wrong program may hold anything here
      if (cell < (unsigned)cells) maps[(long)cell * BLOCK + c] += g[from + c];
    }
  }
}

}  // namespace PL_ISA
}  // namespace partlens
