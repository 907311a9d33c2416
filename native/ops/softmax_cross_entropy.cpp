// softmax_cross_entropy: loss = -mean_n log softmax(x[n])[label[n]]; dx = g (p - onehot) / N.
//   in   x (N, F)  labels (N) int32         out  loss ()  probabilities (N, F)
//   grid one task per row; the loss is summed in order
#include "../cpu_kernels.h"
#include "../simd/chunks.h"
#include "softmax.h"

namespace partlens {
namespace PL_ISA {

void softmax_cross_entropy_forward(Device& device, const softmax_cross_entropy_forward_args& t,
                                   const NoAttrs&) {
  const int N = row_count(t.x), F = features(t.x), stride = row_stride(t.x);
  const RowLanes lanes = row_lanes(t.x);
  const float* x = f32(t.x);
  const int* labels = i32(t.labels);
  float* probabilities = f32(t.probabilities);
  double* loss = reinterpret_cast<double*>(device.scratch(0, 2 * (size_t)N));
  parallel_for(device, N, [=](int n, int) {
    const float* in = x + (long)n * stride;
    const double log_sum = softmax_row(lanes, in, probabilities + (long)n * stride, stride);
    const bool known = labels[n] >= 0 && labels[n] < F;  // a wrong label shows as NaN
    loss[n] = known ? log_sum - in[lanes.place(labels[n])] : NAN;
  });
  double sum = 0;
  for (int n = 0; n < N; n++) sum += loss[n];
  memset(f32(t.loss), 0, sizeof(float) * BLOCK);
  f32(t.loss)[0] = (float)(sum / N);
}

void softmax_cross_entropy_backward(Device& device, const softmax_cross_entropy_backward_args& t,
                                    const NoAttrs&) {
  const int N = row_count(t.dx), F = features(t.dx), stride = row_stride(t.dx);
  const RowLanes lanes = row_lanes(t.dx);
  const float* probabilities = f32(t.probabilities);
  const int* labels = i32(t.labels);
  const float weight = f32(t.g)[0] / N;
  float* dx = f32(t.dx);
  parallel_for(device, N, [=](int n, int) {
    const long row = (long)n * stride;
    for (int f = 0; f < stride; f++) dx[row + f] = weight * probabilities[row + f];
    if (labels[n] >= 0 && labels[n] < F) dx[row + lanes.place(labels[n])] -= weight;
  });
}

}  // namespace PL_ISA
}  // namespace partlens
