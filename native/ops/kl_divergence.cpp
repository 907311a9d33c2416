// kl_divergence: loss = mean_n sum_f p log(p / q), p = softmax(target[n]), q = softmax(x[n]);
// dx = g (q - p) / N.
//   in   x, target (N, F)                   out  loss ()  difference (N, F), q - p
//   grid one task per row; the loss is summed in order
//   cost three passes over both rows, four exponentials per value. In double: the loss is of second
//        order in x - target, and all that float32 leaves of it where the two are near is rounding.
#include "../cpu_kernels.h"
#include "../simd/chunks.h"
#include "row_lanes.h"

namespace partlens {
namespace PL_ISA {

static double log_sum_exp(const float* x, const RowLanes& lanes) {
  float top = -INFINITY;
  lanes.each([&](int i) { top = x[i] > top ? x[i] : top; });
  double sum = 0;
  lanes.each([&](int i) { sum += exp((double)x[i] - top); });
  return log(sum) + top;
}

void kl_divergence_forward(Device& device, const kl_divergence_forward_args& t, const NoAttrs&) {
  const int N = row_count(t.x), stride = row_stride(t.x);
  const RowLanes lanes = row_lanes(t.x);
  const float *x = f32(t.x), *target = f32(t.target);
  float* difference = f32(t.difference);
  double* loss = reinterpret_cast<double*>(device.scratch(0, 2 * (size_t)N));
  parallel_for(device, N, [=](int n, int) {
    const float *in = x + (long)n * stride, *wanted = target + (long)n * stride;
    float* out = difference + (long)n * stride;
    const double x_sum = log_sum_exp(in, lanes), target_sum = log_sum_exp(wanted, lanes);
    memset(out, 0, sizeof(float) * stride);
    double sum = 0;
    lanes.each([&](int i) {
      const double log_q = in[i] - x_sum, log_p = wanted[i] - target_sum;
      const double p = exp(log_p);
      out[i] = (float)(exp(log_q) - p);
      if (p != 0) sum += p * (log_p - log_q);  // a class that cannot be adds nothing
    });
    loss[n] = sum;
  });
  double sum = 0;
  for (int n = 0; n < N; n++) sum += loss[n];
  memset(f32(t.loss), 0, sizeof(float) * BLOCK);
  f32(t.loss)[0] = (float)(sum / N);
}

void kl_divergence_backward(Device& device, const kl_divergence_backward_args& t, const NoAttrs&) {
  const float* difference = f32(t.difference);
  const float weight = f32(t.g)[0] / row_count(t.dx);
  float* dx = f32(t.dx);
  for_chunks(device, elements(t.dx), [=](long begin, long end, int) {
    for (long i = begin; i < end; i++) dx[i] = weight * difference[i];
  });
}

}  // namespace PL_ISA
}  // namespace partlens
