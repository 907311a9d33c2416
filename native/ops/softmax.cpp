// softmax: y[n,f] = exp(x[n,f]) / sum_f exp(x[n,f]); backward dx = y (g - sum_f g y).
//   in   x (N, F)                           out  y (N, F)
//   grid one task per row; the maximum is subtracted first
#include "../cpu_kernels.h"
#include "../simd/chunks.h"
#include "softmax.h"

namespace partlens {
namespace PL_ISA {

void softmax_forward(Device& device, const softmax_forward_args& t, const NoAttrs&) {
  const int stride = row_stride(t.x);
  const RowLanes lanes = row_lanes(t.x);
  const float* x = f32(t.x);
  float* y = f32(t.y);
  parallel_for(device, row_count(t.x), [=](int n, int) {
    softmax_row(lanes, x + (long)n * stride, y + (long)n * stride, stride);
  });
}

void softmax_backward(Device& device, const softmax_backward_args& t, const NoAttrs&) {
  const int stride = row_stride(t.y);
  const float *g = f32(t.g), *y = f32(t.y);
  float* dx = f32(t.dx);
  parallel_for(device, row_count(t.y), [=](int n, int) {
    const long row = (long)n * stride;
    const double dot = lane_sum(row, row + stride, [=](long i) { return (double)g[i] * y[i]; });
    for (long i = row; i < row + stride; i++) dx[i] = y[i] * (g[i] - (float)dot);
  });
}

}  // namespace PL_ISA
}  // namespace partlens
