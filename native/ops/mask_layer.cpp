// mask_layer: keep each map near its peak, silence the rest.        [Zhang 2018]
//   in   x (N, D, n, n)                     out  y (N, D, n, n)   peak (N, D) int32
//   grid one task per image and block of 16 maps
//   cost reads x twice, writes y once; memory bound
//   y = x * max(1 - beta |[i,j] - mu|_1 / n, 0); backward: the same mask, a constant.
#include "../cpu_kernels.h"
#include "../simd/chunks.h"

namespace partlens {
namespace PL_ISA {

static inline float mask_at(float beta_over_n, int distance) {
  const float u = 1 - beta_over_n * distance;
  return u > 0 ? u : 0;
}

// y[i,j] = x[i,j] * mask, for the 16 maps of one block.
static void apply_mask(const float* x, const int* mu, float* y, int n, float beta) {
  int row[BLOCK], column[BLOCK];
  for (int c = 0; c < BLOCK; c++) {
    row[c] = mu[c] / n;
    column[c] = mu[c] % n;
  }
  for (int i = 0; i < n; i++) {
    for (int j = 0; j < n; j++) {
      const long at = ((long)i * n + j) * BLOCK;
      for (int c = 0; c < BLOCK; c++) {
        const int down = i > row[c] ? i - row[c] : row[c] - i;
        const int across = j > column[c] ? j - column[c] : column[c] - j;
        y[at + c] = x[at + c] * mask_at(beta / n, down + across);
      }
    }
  }
}

void mask_layer_forward(Device& device, const mask_layer_forward_args& t, const MaskLayerAttrs& a) {
  const int n = t.x.dims[2], blocks = blocks_of(t.x.dims[1]), stride = row_stride(t.peak);
  const float* x = f32(t.x);
  float* y = f32(t.y);
  int* peak = i32(t.peak);
  const float beta = a.beta;
  parallel_for(device, t.x.dims[0] * blocks, [=](int task, int) {
    const float* maps = x + (long)task * n * n * BLOCK;
    int* mu = peak + (long)(task / blocks) * stride + task % blocks * BLOCK;
    float best[BLOCK];
    for (int c = 0; c < BLOCK; c++) {
      best[c] = maps[c];
      mu[c] = 0;
    }
    for (int i = 1; i < n * n; i++) {
      for (int c = 0; c < BLOCK; c++) {
        const float value = maps[i * BLOCK + c];
        mu[c] = value > best[c] ? i : mu[c];
        best[c] = value > best[c] ? value : best[c];
      }
    }
    apply_mask(maps, mu, y + (long)task * n * n * BLOCK, n, beta);
  });
}

void mask_layer_backward(Device& device, const mask_layer_backward_args& t,
                         const MaskLayerAttrs& a) {
  const int n = t.g.dims[2], blocks = blocks_of(t.g.dims[1]), stride = row_stride(t.peak);
  const float* g = f32(t.g);
  const int* peak = i32(t.peak);
  float* dx = f32(t.dx);
  const float beta = a.beta;
  parallel_for(device, t.g.dims[0] * blocks, [=](int task, int) {
    const long at = (long)task * n * n * BLOCK;
    const int* mu = peak + (long)(task / blocks) * stride + task % blocks * BLOCK;
    apply_mask(g + at, mu, dx + at, n, beta);
  });
}

}  // namespace PL_ISA
}  // namespace partlens
