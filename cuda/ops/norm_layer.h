// Strength of filters and their factors, for norm_layer and norm_mix. [Zhang 2018]
#pragma once
#include "../cuda_kernels.h"

namespace partlens {
namespace cuda {

struct PositivePart {
  const float* x;
  int pitch;
  __device__ double operator()(long row, int column) const {
    const float v = x[row * pitch + column];
    return v < 0 ? 0 : v;
  }
};

struct StoreStrength {
  double* strength;
  int N;
  __device__ void operator()(int column, double sum) const { strength[column] = sum / N; }
};

// One block: new alpha, then factor = scale / max(alpha, floor mean alpha).
static __global__ void __launch_bounds__(SUM_THREADS)
    norm_factors_kernel(const double* strength, const float* alpha, float* alpha_out, float* factor,
                        int D, int pitch, NormLayerAttrs a) {
  const auto strength_of = [&](int d) -> double {
    const double old = alpha[d];
    if (!a.training) return old;
    return old < 0 ? strength[d] : a.momentum * old + (1 - a.momentum) * strength[d];
  };
  double sum = 0;
  for (int d = threadIdx.x; d < D; d += SUM_THREADS) sum += strength_of(d) / D;
  const double mean = block_sum(sum), floor = a.floor * mean;
  for (int d = threadIdx.x; d < pitch; d += SUM_THREADS) {
    const double own = d < D ? strength_of(d) : 0, used = d < D && own < floor ? floor : own;
    factor[d] = used > 0 && mean >= a.silent ? (float)(a.scale / used) : 0;
    if (alpha_out) alpha_out[d] = (float)own;
  }
}

// factor = scale / max(alpha, floor mean alpha), 0 where that mean is below `silent`; alpha is
// updated with the batch's strength in training, and kept in alpha_out if that is there.
inline void norm_factors(Device& device, const PlTensor& x, const PlTensor& alpha,
                         const NormLayerAttrs& a, const PlTensor& factor,
                         const PlTensor& alpha_out) {
  const Axes axes = axes_of(x);
  const int pitch = axes.pitch();
  double* strength = device.scratch<double>(STATISTICS_SLOT, pitch);
  if (a.training) {
    sum_columns(device, axes.rows(), pitch, PositivePart{f32(x), pitch},
                StoreStrength{strength, axes.images});
  }
  launch(device, norm_factors_kernel, dim3(1), dim3(SUM_THREADS), 0, (const double*)strength,
         (const float*)f32(alpha), f32(alpha_out), f32(factor), axes.channels, pitch, a);
}

}  // namespace cuda
}  // namespace partlens
