// softmax: y[n,f] = exp(x[n,f]) / sum_f exp(x[n,f]); backward dx = y (g - sum_f g y).
//   in   x (N, F)                           out  y (N, F)
//   grid one block of 256 threads per row; the maximum is subtracted first
#include "softmax.h"

namespace partlens {
namespace cuda {

__global__ void __launch_bounds__(SUM_THREADS)
    softmax_forward_kernel(const float* x, float* y, int length, int channels, int pitch) {
  const long row = (long)blockIdx.x * length;
  softmax_row(x + row, y + row, length, channels, pitch);
}

void softmax_forward(Device& device, const softmax_forward_args& t, const NoAttrs&) {
  const Axes axes = axes_of(t.x);
  launch(device, softmax_forward_kernel, dim3(row_count(t.x)), dim3(SUM_THREADS), 0,
         (const float*)f32(t.x), f32(t.y), axes.cells * axes.pitch(), axes.channels, axes.pitch());
}

__global__ void __launch_bounds__(SUM_THREADS)
    softmax_backward_kernel(const float* g, const float* y, float* dx, int pitch) {
  const long row = (long)blockIdx.x * pitch;
  double dot = 0;
  for (int f = threadIdx.x; f < pitch; f += SUM_THREADS) dot += (double)g[row + f] * y[row + f];
  const float sum = (float)block_sum(dot);
  for (int f = threadIdx.x; f < pitch; f += SUM_THREADS) {
    dx[row + f] = y[row + f] * (g[row + f] - sum);
  }
}

void softmax_backward(Device& device, const softmax_backward_args& t, const NoAttrs&) {
  launch(device, softmax_backward_kernel, dim3(row_count(t.y)), dim3(SUM_THREADS), 0,
         (const float*)f32(t.g), (const float*)f32(t.y), f32(t.dx), (int)row_pitch(t.y));
}

}  // namespace cuda
}  // namespace partlens
