// kl_divergence: loss = mean_n sum_f p log(p / q), p = softmax(target[n]), q = softmax(x[n]);
// dx = g (q - p) / N.
//   in   x, target (N, F)                   out  loss ()  difference (N, F), q - p
//   grid one block of 256 threads per row; the loss is summed in order
//   cost three passes over both rows, four exponentials per value. In double: the loss is of second
//        order in x - target, and all that float32 leaves of it where the two are near is rounding.
#include "softmax.h"

namespace partlens {
namespace cuda {

// channels of pitch lanes hold features; the others are padding.
__device__ inline double log_sum_exp(const float* x, int length, int channels, int pitch) {
  float top = -INFINITY;
  for (int i = threadIdx.x; i < length; i += SUM_THREADS) {
    if (i % pitch < channels) top = fmaxf(top, x[i]);
  }
  top = block_max(top);
  double sum = 0;
  for (int i = threadIdx.x; i < length; i += SUM_THREADS) {
    if (i % pitch < channels) sum += exp((double)x[i] - top);
  }
  return log(block_sum(sum)) + top;
}

__global__ void __launch_bounds__(SUM_THREADS)
    kl_divergence_rows_kernel(const float* x, const float* target, float* difference, double* loss,
                              int length, int channels, int pitch) {
  const long row = (long)blockIdx.x * length;
  const double x_sum = log_sum_exp(x + row, length, channels, pitch);
  const double target_sum = log_sum_exp(target + row, length, channels, pitch);
  double sum = 0;
  for (int i = threadIdx.x; i < length; i += SUM_THREADS) {
    const double log_q = x[row + i] - x_sum, log_p = target[row + i] - target_sum;
    const double p = exp(log_p);
    const bool real = i % pitch < channels;
    difference[row + i] = real ? (float)(exp(log_q) - p) : 0;
    if (real && p != 0) sum += p * (log_p - log_q);  // a class that cannot be adds nothing
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) loss[blockIdx.x] = sum;
}

struct RowDivergence {
  const double* loss;
  __device__ double operator()(long n) const { return loss[n]; }
};
struct StoreMeanDivergence {
  float* loss;
  int N;
  __device__ void operator()(double sum) const {
    store4(loss, make_float4((float)(sum / N), 0, 0, 0));
  }
};

void kl_divergence_forward(Device& device, const kl_divergence_forward_args& t, const NoAttrs&) {
  const Axes axes = axes_of(t.x);
  double* loss = device.scratch<double>(STATISTICS_SLOT, axes.images);
  launch(device, kl_divergence_rows_kernel, dim3(axes.images), dim3(SUM_THREADS), 0,
         (const float*)f32(t.x), (const float*)f32(t.target), f32(t.difference), loss,
         axes.cells * axes.pitch(), axes.channels, axes.pitch());
  sum_all(device, axes.images, RowDivergence{loss}, StoreMeanDivergence{f32(t.loss), axes.images});
}

struct DivergenceGradient {
  const float *g, *difference;
  float* dx;
  int N;
  __device__ void operator()(long i) const {
    const float weight = g[0] / N;
    const float4 d = load4(difference + i * 4);
    store4(dx + i * 4, make_float4(weight * d.x, weight * d.y, weight * d.z, weight * d.w));
  }
};

void kl_divergence_backward(Device& device, const kl_divergence_backward_args& t, const NoAttrs&) {
  for_each(device, elements(t.dx) / 4,
           DivergenceGradient{f32(t.g), f32(t.difference), f32(t.dx), row_count(t.dx)});
}

}  // namespace cuda
}  // namespace partlens
