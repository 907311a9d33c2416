// softmax_cross_entropy: loss = -mean_n log softmax(x[n])[label[n]]; dx = g (p - onehot) / N.
//   in   x (N, F)  labels (N) int32         out  loss ()  probabilities (N, F)
//   grid one block of 256 threads per row; the loss is summed in order. A wrong label shows as NaN.
#include "softmax.h"

namespace partlens {
namespace cuda {

__global__ void __launch_bounds__(SUM_THREADS)
    cross_entropy_rows_kernel(const float* x, const int* labels, float* probabilities, double* loss,
                              int F, int pitch) {
  const int n = blockIdx.x, label = labels[n];
  const float* row = x + (long)n * pitch;
  const double log_sum = softmax_row(row, probabilities + (long)n * pitch, F, pitch);
  if (threadIdx.x == 0) loss[n] = label >= 0 && label < F ? log_sum - row[label] : NAN;
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
         (const int*)i32(t.labels), f32(t.probabilities), loss, features(t.x), (int)row_pitch(t.x));
  sum_all(device, N, RowLoss{loss}, StoreMeanLoss{f32(t.loss), N});
}

struct CrossEntropyGradient {
  const float *g, *probabilities;
  const int* labels;
  float* dx;
  int N, F, pitch;
  __device__ void operator()(long i) const {
    const int f = (int)(i % pitch);
    const float weight = g[0] / N, hit = f < F && labels[i / pitch] == f ? 1 : 0;
    dx[i] = weight * probabilities[i] - weight * hit;
  }
};

void softmax_cross_entropy_backward(Device& device, const softmax_cross_entropy_backward_args& t,
                                    const NoAttrs&) {
  for_each(device, elements(t.dx),
           CrossEntropyGradient{f32(t.g), f32(t.probabilities), i32(t.labels), f32(t.dx),
                                row_count(t.dx), features(t.dx), (int)row_pitch(t.dx)});
}

}  // namespace cuda
}  // namespace partlens
