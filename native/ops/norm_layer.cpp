// norm_layer: bring all filters to one strength.                    [Zhang 2018]
//   in   x (N, D, P, Q)  alpha (D)          out  y (N, D, P, Q)  factor (D)  alpha_out (D)
//   cost reads x twice, writes y once; memory bound
//   y = x * factor, factor = scale / max(alpha, floor * mean alpha), 0 where the mean is below
//   `silent`; alpha_out lives in alpha.
#include "../cpu_kernels.h"
#include "../simd/chunks.h"

namespace partlens {
namespace PL_ISA {

// sums[block][lane]: mean over images of sum over positions of max(x, 0).
static void batch_strength(Device& device, const PlTensor& t, double* sums) {
  const int N = t.dims[0], blocks = blocks_of(t.dims[1]), cells = t.dims[2] * t.dims[3];
  const float* x = f32(t);
  parallel_for(device, blocks, [=](int block, int) {
    double* sum = sums + block * BLOCK;
    for (int c = 0; c < BLOCK; c++) sum[c] = 0;
    for (int n = 0; n < N; n++) {
      const float* map = x + ((long)n * blocks + block) * cells * BLOCK;
      float image[BLOCK] = {};
      for (int i = 0; i < cells; i++) {
        for (int c = 0; c < BLOCK; c++) {
          const float v = map[i * BLOCK + c];
          image[c] += v < 0 ? 0 : v;
        }
      }
      for (int c = 0; c < BLOCK; c++) sum[c] += image[c];
    }
    for (int c = 0; c < BLOCK; c++) sum[c] /= N;
  });
}

// y = x * factor[c]
static void multiply(Device& device, const PlTensor& from, const float* factor, float* y) {
  const int blocks = blocks_of(from.dims[1]), cells = from.dims[2] * from.dims[3];
  const float* x = f32(from);
  parallel_for(device, from.dims[0] * blocks, [=](int task, int) {
    const long at = (long)task * cells * BLOCK;
    const float* f = factor + task % blocks * BLOCK;
    for (int i = 0; i < cells; i++) {
      for (int c = 0; c < BLOCK; c++) y[at + i * BLOCK + c] = x[at + i * BLOCK + c] * f[c];
    }
  });
}

void norm_layer_forward(Device& device, const norm_layer_forward_args& t, const NormLayerAttrs& a) {
  const int D = t.x.dims[1];
  double* sums = reinterpret_cast<double*>(device.scratch(0, 4 * (size_t)padded(D)));
  double* alpha = sums + padded(D);
  if (a.training) batch_strength(device, t.x, sums);
  double mean = 0;
  for (int d = 0; d < D; d++) {
    const double old = f32(t.alpha)[d];
    alpha[d] = !a.training ? old
               : old < 0   ? sums[d]
                           : a.momentum * old + (1 - a.momentum) * sums[d];
    mean += alpha[d] / D;
  }
  float* factor = f32(t.factor);
  for (int d = 0; d < padded(D); d++) {
    const double floor = a.floor * mean;
    const double strength = d < D ? (alpha[d] > floor ? alpha[d] : floor) : 0;
    factor[d] = strength > 0 && mean >= a.silent ? (float)(a.scale / strength) : 0;
    if (t.alpha_out.data) f32(t.alpha_out)[d] = d < D ? (float)alpha[d] : 0;
  }
  multiply(device, t.x, factor, f32(t.y));
}

void norm_layer_backward(Device& device, const norm_layer_backward_args& t, const NoAttrs&) {
  multiply(device, t.g, f32(t.factor), f32(t.dx));
}

}  // namespace PL_ISA
}  // namespace partlens
