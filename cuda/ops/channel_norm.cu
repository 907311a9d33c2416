// channel_norm: y = (x - mean) / sqrt(var + epsilon) over the channels of each cell.
//   in   x (N, C, H, W) or rows (N, F)      out  y like x
//   grid one warp per cell, eight in a block
//   cost reads x three times (mean, variance, result), from the cache but for the first
//   Backward with xhat = y: dx = (g - mean(g) - xhat mean(g xhat)) / sqrt(var + epsilon), from x
//   anew. Two passes in double: nothing cancels. [Ba 2016]
#include "../cuda_kernels.h"

namespace partlens {
namespace cuda {

constexpr int CELLS_AT_ONCE = SUM_THREADS / 32;

// Mean over the channels of term(c), in every lane of the warp.
template <class Term>
__device__ double warp_mean(int channels, Term term) {
  double sum = 0;
  for (int c = threadIdx.x % 32; c < channels; c += 32) sum += term(c);
  return warp_sum(sum) / channels;
}

struct CellMoments {
  double mean, scale;
  __device__ CellMoments(const float* x, int channels, double epsilon) {
    mean = warp_mean(channels, [=](int c) { return (double)x[c]; });
    const double m = mean;
    scale = 1 / sqrt(warp_mean(channels, [=](int c) { return (x[c] - m) * (x[c] - m); }) + epsilon);
  }
};

__global__ void __launch_bounds__(SUM_THREADS)
    channel_norm_forward_kernel(const float* x, float* y, Axes axes, float epsilon) {
  const long cell = (long)blockIdx.x * CELLS_AT_ONCE + threadIdx.x / 32, at = cell * axes.pitch();
  if (cell >= axes.rows()) return;  // a whole warp
  const CellMoments m(x + at, axes.channels, epsilon);
  for (int c = threadIdx.x % 32; c < axes.pitch(); c += 32) {
    y[at + c] = c < axes.channels ? (float)((x[at + c] - m.mean) * m.scale) : 0;
  }
}

static dim3 cell_blocks(const Axes& axes) {
  return dim3((unsigned)((axes.rows() + CELLS_AT_ONCE - 1) / CELLS_AT_ONCE));
}

void channel_norm_forward(Device& device, const channel_norm_forward_args& t,
                          const EpsilonAttrs& a) {
  const Axes axes = axes_of(t.x);
  launch(device, channel_norm_forward_kernel, cell_blocks(axes), dim3(SUM_THREADS), 0,
         (const float*)f32(t.x), f32(t.y), axes, a.epsilon);
}

__global__ void __launch_bounds__(SUM_THREADS)
    channel_norm_backward_kernel(const float* g, const float* x, float* dx, Axes axes,
                                 float epsilon) {
  const long cell = (long)blockIdx.x * CELLS_AT_ONCE + threadIdx.x / 32, at = cell * axes.pitch();
  if (cell >= axes.rows()) return;  // a whole warp
  const CellMoments m(x + at, axes.channels, epsilon);
  const double straight = warp_mean(axes.channels, [=](int c) { return (double)g[at + c]; });
  const double along =
      m.scale * warp_mean(axes.channels, [=](int c) { return g[at + c] * (x[at + c] - m.mean); });
  for (int c = threadIdx.x % 32; c < axes.pitch(); c += 32) {
    const double xhat = (x[at + c] - m.mean) * m.scale;
    dx[at + c] = c < axes.channels ? (float)(m.scale * (g[at + c] - straight - xhat * along)) : 0;
  }
}

void channel_norm_backward(Device& device, const channel_norm_backward_args& t,
                           const EpsilonAttrs& a) {
  const Axes axes = axes_of(t.x);
  launch(device, channel_norm_backward_kernel, cell_blocks(axes), dim3(SUM_THREADS), 0,
         (const float*)f32(t.g), (const float*)f32(t.x), f32(t.dx), axes, a.epsilon);
}

}  // namespace cuda
}  // namespace partlens
