// avgpool2d: mean of each window; backward spreads g over the window.
//   in   x (N, C, H, W)                     out  y (N, C, P, Q)
//   cost reads each window once; one block of 16 channels at a time
//   The divisor counts the cells inside the image, with count_include_pad those of the padding too;
//   what hangs over the padded image (ceil mode) never counts. [ONNX AveragePool]
#include "../cpu_kernels.h"
#include "../simd/chunks.h"

namespace partlens {
namespace PL_ISA {

struct MeanWindow {
  int y0, y1, x0, x1;
  float share;  // 1 / divisor
};

static inline int min_int(int a, int b) { return a < b ? a : b; }
static inline int max_int(int a, int b) { return a > b ? a : b; }

static inline MeanWindow mean_window(const Pool2dAttrs& a, int p, int q, int H, int W) {
  const int top = p * a.stride_h - a.pad_top, left = q * a.stride_w - a.pad_left;
  MeanWindow w = {max_int(top, 0), min_int(top + a.kernel_h, H), max_int(left, 0),
                  min_int(left + a.kernel_w, W), 0};
  int count = (w.y1 - w.y0) * (w.x1 - w.x0);
  if (a.count_include_pad) {
    const int rows = min_int(top + a.kernel_h, H + a.pad_bottom) - top;
    const int columns = min_int(left + a.kernel_w, W + a.pad_right) - left;
    count = rows * columns;
  }
  w.share = 1.0f / count;
  return w;
}

void avgpool2d_forward(Device& device, const avgpool2d_forward_args& t, const Pool2dAttrs& a) {
  const int H = t.x.dims[2], W = t.x.dims[3], P = t.y.dims[2], Q = t.y.dims[3];
  const float* x = f32(t.x);
  float* y = f32(t.y);
  const Pool2dAttrs attrs = a;
  parallel_for(device, t.x.dims[0] * blocks_of(t.x.dims[1]), [=](int block, int) {
    const float* map = x + (long)block * H * W * BLOCK;
    for (int p = 0; p < P; p++) {
      for (int q = 0; q < Q; q++) {
        const MeanWindow w = mean_window(attrs, p, q, H, W);
        float sum[BLOCK] = {};
        for (int i = w.y0; i < w.y1; i++) {
          for (int j = w.x0; j < w.x1; j++) {
            const float* cell = map + ((long)i * W + j) * BLOCK;
            for (int c = 0; c < BLOCK; c++) sum[c] += cell[c];
          }
        }
        float* out = y + ((long)block * P * Q + p * Q + q) * BLOCK;
        for (int c = 0; c < BLOCK; c++) out[c] = sum[c] * w.share;
      }
    }
  });
}

void avgpool2d_backward(Device& device, const avgpool2d_backward_args& t, const Pool2dAttrs& a) {
  const int H = t.dx.dims[2], W = t.dx.dims[3], P = t.g.dims[2], Q = t.g.dims[3];
  const float* g = f32(t.g);
  float* dx = f32(t.dx);
  const Pool2dAttrs attrs = a;
  parallel_for(device, t.g.dims[0] * blocks_of(t.g.dims[1]), [=](int block, int) {
    float* map = dx + (long)block * H * W * BLOCK;
    memset(map, 0, sizeof(float) * H * W * BLOCK);
    for (int p = 0; p < P; p++) {
      for (int q = 0; q < Q; q++) {
        const MeanWindow w = mean_window(attrs, p, q, H, W);
        const float* from = g + ((long)block * P * Q + p * Q + q) * BLOCK;
        for (int i = w.y0; i < w.y1; i++) {
          for (int j = w.x0; j < w.x1; j++) {
            float* cell = map + ((long)i * W + j) * BLOCK;
            for (int c = 0; c < BLOCK; c++) cell[c] += from[c] * w.share;
          }
        }
      }
    }
  });
}

}  // namespace PL_ISA
}  // namespace partlens
