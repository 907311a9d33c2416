// softmax_cross_entropy: loss = -mean_n log softmax(x[n])[label[n]]; dx = g (p - onehot) / N.
//   in   x (N, F)  labels (N) int32         out  loss ()  probabilities (N, F)
//   grid one block of 256 threads per row; the loss is summed in order. A wrong label shows as NaN.
#include "softmax.h"

namespace partlens {
namespace cuda {

// Where feature f of a row lies: features count cells within channels.
__host__ __device__ inline int place_of(int f, Axes axes) {
  return f % axes.cells * axes.pitch() + f / axes.cells;
}

__global__ void __launch_bounds__(SUM_THREADS)
    cross_entropy_rows_kernel(const float* x, const int* labels, float* probabilities, double* loss,
                              Axes axes) {
  const int n = blockIdx.x, label = labels[n], length = axes.cells * axes.pitch();
  const float* row = x + (long)n * length;
  const double log_sum =
      softmax_row(row, probabilities + (long)n * length, length, axes.channels, axes.pitch());
  const bool known = label >= 0 && label < axes.channels * axes.cells;
  if (threadIdx.x == 0) loss[n] = known ? log_sum - row[place_of(label, axes)] : NAN;
}

struct RowLoss {
  const double* loss;
  __device__ double operator()(long n) const { return loss[n]; }
};
struct StoreMeanLoss {
  float* loss;
  int N;
  __device__ void operator()(double sum) const {
    store4(loss, make_float4((float)(sum / N), 0, 0, 0));
  }
};

void softmax_cross_entropy_forward(Device& device, const softmax_cross_entropy_forward_args& t,
                                   const NoAttrs&) {
  const int N = row_count(t.x);
  double* loss = device.scratch<double>(STATISTICS_SLOT, N);
  launch(device, cross_entropy_rows_kernel, dim3(N), dim3(SUM_THREADS), 0, (const float*)f32(t.x),
         (const int*)i32(t.labels), f32(t.probabilities), loss, axes_of(t.x));
  sum_all(device, N, RowLoss{loss}, StoreMeanLoss{f32(t.loss), N});
}

struct CrossEntropyGradient {
  const float *g, *probabilities;
  const int* labels;
  float* dx;
  int N, F;
  Axes axes;
  __device__ void operator()(long i) const {
    const int length = axes.cells * axes.pitch(), label = labels[i / length];
    const bool known = label >= 0 && label < F;
    const float weight = g[0] / N, hit = known && i % length == place_of(label, axes) ? 1 : 0;
    dx[i] = weight * probabilities[i] - weight * hit;
  }
};

void softmax_cross_entropy_backward(Device& device, const softmax_cross_entropy_backward_args& t,
                                    const NoAttrs&) {
  for_each(device, elements(t.dx),
           CrossEntropyGradient{f32(t.g), f32(t.probabilities), i32(t.labels), f32(t.dx),
                                row_count(t.dx), features(t.dx), axes_of(t.dx)});
}

}  // namespace cuda
}  // namespace partlens
