// Strength of filters and their factors, for norm_layer and norm_mix. [Zhang 2018]
#pragma once
#include "../cpu_kernels.h"

namespace partlens {
namespace PL_ISA {

// sums[block][lane]: mean over images of sum over positions of max(x, 0).
static inline void batch_strength(Device& device, const PlTensor& t, double* sums) {
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

// factor = scale / max(alpha, floor mean alpha), 0 where that mean is below `silent`; alpha is
// updated with the batch's strength in training, and kept in alpha_out if that is there.
static inline void norm_factors(Device& device, const PlTensor& x, const PlTensor& alpha,
                                const NormLayerAttrs& a, const PlTensor& factor,
                                const PlTensor& alpha_out) {
  const int D = x.dims[1];
  double* sums = reinterpret_cast<double*>(device.scratch(0, 4 * (size_t)padded(D)));
  double* strength = sums + padded(D);
  if (a.training) batch_strength(device, x, sums);
  double mean = 0;
  for (int d = 0; d < D; d++) {
    const double old = f32(alpha)[d];
    strength[d] = !a.training ? old
                  : old < 0   ? sums[d]
                              : a.momentum * old + (1 - a.momentum) * sums[d];
    mean += strength[d] / D;
  }
  const double floor = a.floor * mean;
  for (int d = 0; d < padded(D); d++) {
    const double used = d < D ? (strength[d] > floor ? strength[d] : floor) : 0;
    f32(factor)[d] = used > 0 && mean >= a.silent ? (float)(a.scale / used) : 0;
    if (alpha_out.data) f32(alpha_out)[d] = d < D ? (float)strength[d] : 0;
  }
}

}  // namespace PL_ISA
}  // namespace partlens
