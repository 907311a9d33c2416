// norm_layer: bring all filters to one strength.                    [Zhang 2018]
//   in   x (N, D, P, Q)  alpha (D)          out  y (N, D, P, Q)  factor (D)  alpha_out (D)
//   cost reads x twice, writes y once; memory bound
//   y = x * factor, factor = scale / max(alpha, floor * mean alpha), 0 where the mean is below
//   `silent`; alpha_out lives in alpha.
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

struct MultiplyChannels {
  const float *x, *factor;
  float* y;
  int pitch;
  __device__ void operator()(long i) const {
    store4(y + i * 4, times4(load4(x + i * 4), load4(factor + i * 4 % pitch)));
  }
};

// One block: new alpha, then factor = scale / max(alpha, floor mean alpha).
__global__ void __launch_bounds__(SUM_THREADS)
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

void norm_layer_forward(Device& device, const norm_layer_forward_args& t, const NormLayerAttrs& a) {
  const Axes x = axes_of(t.x);
  double* strength = device.scratch<double>(STATISTICS_SLOT, x.pitch());
  if (a.training) {
    sum_columns(device, x.rows(), x.pitch(), PositivePart{f32(t.x), x.pitch()},
                StoreStrength{strength, x.images});
  }
  launch(device, norm_factors_kernel, dim3(1), dim3(SUM_THREADS), 0, (const double*)strength,
         (const float*)f32(t.alpha), f32(t.alpha_out), f32(t.factor), x.channels, x.pitch(), a);
  for_each(device, x.elements() / 4,
           MultiplyChannels{f32(t.x), f32(t.factor), f32(t.y), x.pitch()});
}

void norm_layer_backward(Device& device, const norm_layer_backward_args& t, const NoAttrs&) {
  const Axes g = axes_of(t.g);
  for_each(device, g.elements() / 4,
           MultiplyChannels{f32(t.g), f32(t.factor), f32(t.dx), g.pitch()});
}

}  // namespace cuda
}  // namespace partlens
