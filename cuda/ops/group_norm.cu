// group_norm: y = (x - mean) / sqrt(var + epsilon) over the channels of a group, all cells.
//   in   x (N, C, H, W)                     out  y like x
//   grid one block of 256 threads per (image, group)
//   cost reads x three times (mean, variance, result), writes y once
//   Two passes in double: nothing cancels. Backward: dx = (g - mean(g) - xhat mean(g xhat)) /
//   sqrt(var + epsilon). [Wu 2018]
#include "../cuda_kernels.h"

namespace partlens {
namespace cuda {

// The elements of the block's group, channels innermost.
struct GroupPart {
  Axes axes;
  int groups;

  __device__ int width() const { return axes.channels / groups; }
  __device__ long count() const { return (long)axes.cells * width(); }
  __device__ long offset(long i) const {
    const int image = blockIdx.x / groups, first = blockIdx.x % groups * width();
    return ((long)image * axes.cells + i / width()) * axes.pitch() + first + i % width();
  }
  // Mean over the group of term(offset), in every thread.
  template <class Term>
  __device__ double mean(Term term) const {
    double sum = 0;
    for (long i = threadIdx.x; i < count(); i += SUM_THREADS) sum += term(offset(i));
    return block_sum(sum) / count();
  }
  // to = term(offset) in the group; the padding of the last group's pixels becomes 0.
  template <class Term>
  __device__ void write(float* to, Term term) const {
    for (long i = threadIdx.x; i < count(); i += SUM_THREADS)
      to[offset(i)] = (float)term(offset(i));
    const int beyond = axes.pitch() - axes.channels, image = blockIdx.x / groups;
    if ((int)blockIdx.x % groups != groups - 1 || beyond == 0) return;
    for (long i = threadIdx.x; i < (long)axes.cells * beyond; i += SUM_THREADS) {
      const long pixel = (long)image * axes.cells + i / beyond;
      to[pixel * axes.pitch() + axes.channels + i % beyond] = 0;
    }
  }
};

__global__ void __launch_bounds__(SUM_THREADS)
    group_norm_forward_kernel(const float* x, float* y, GroupPart part, float epsilon) {
  const double mean = part.mean([=](long i) { return (double)x[i]; });
  const double variance = part.mean([=](long i) { return (x[i] - mean) * (x[i] - mean); });
  const double scale = 1 / sqrt(variance + epsilon);
  part.write(y, [=](long i) { return (x[i] - mean) * scale; });
}

void group_norm_forward(Device& device, const group_norm_forward_args& t, const GroupNormAttrs& a) {
  const GroupPart part = {axes_of(t.x), a.groups};
  launch(device, group_norm_forward_kernel, dim3((unsigned)(t.x.dims[0] * a.groups)),
         dim3(SUM_THREADS), 0, (const float*)f32(t.x), f32(t.y), part, a.epsilon);
}

__global__ void __launch_bounds__(SUM_THREADS)
    group_norm_backward_kernel(const float* g, const float* x, float* dx, GroupPart part,
                               float epsilon) {
  const double mean = part.mean([=](long i) { return (double)x[i]; });
  const double variance = part.mean([=](long i) { return (x[i] - mean) * (x[i] - mean); });
  const double scale = 1 / sqrt(variance + epsilon);
  const double straight = part.mean([=](long i) { return (double)g[i]; });
  const double along = scale * part.mean([=](long i) { return g[i] * (x[i] - mean); });
  part.write(dx, [=](long i) { return scale * (g[i] - straight - (x[i] - mean) * scale * along); });
}

void group_norm_backward(Device& device, const group_norm_backward_args& t,
                         const GroupNormAttrs& a) {
  const GroupPart part = {axes_of(t.x), a.groups};
  launch(device, group_norm_backward_kernel, dim3((unsigned)(t.x.dims[0] * a.groups)),
         dim3(SUM_THREADS), 0, (const float*)f32(t.g), (const float*)f32(t.x), f32(t.dx), part,
         a.epsilon);
}

}  // namespace cuda
}  // namespace partlens
