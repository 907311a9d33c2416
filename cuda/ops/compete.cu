// compete: a place counts for its strongest filters.
//   in   x (N, D, H, W)  factor (D), absent: 1   out  y like x
//   grid one warp per cell, lanes over the filters
//   cost reads x twice (the second time from the cache), writes y once; memory bound for t = 4
//   z = factor x, e = max(scale z, 1e-6)^t, y = z e / (sum over filters of e + tau^t). Backward,
//   the exact gradient with q = sum over filters of g y and w = e / (sum + tau^t): dx = factor w (g
//   + t (g z - q) / z), without the second term where scale z is below 1e-6.
#include "share.h"

namespace partlens {
namespace cuda {

constexpr int CELLS_PER_BLOCK = 8;

struct Competition {
  const float *x, *factor;  // factor: or nullptr
  Axes axes;
  float scale, t, silence;  // silence: tau^t

  __device__ float factor_at(int d) const { return factor ? factor[d] : 1; }
  __device__ float z(long cell, int d) const { return x[cell * axes.pitch() + d] * factor_at(d); }
  __device__ float strength(float z) const { return strength_of(scale * z, t); }
  // This warp's cell, or one beyond the last.
  __device__ long cell() const { return (long)blockIdx.x * CELLS_PER_BLOCK + threadIdx.y; }
};

// g: or nullptr, for the forward pass
__global__ void __launch_bounds__(32 * CELLS_PER_BLOCK)
    compete_kernel(Competition k, const float* g, float* to) {
  const long cell = k.cell();
  if (cell >= k.axes.rows()) return;
  const int D = k.axes.channels, pitch = k.axes.pitch();
  float sum = 0, q = 0;
  for (int d = threadIdx.x; d < D; d += 32) {
    const float z = k.z(cell, d), e = k.strength(z);
    sum += e;
    if (g) q += g[cell * pitch + d] * z * e;
  }
  const float inverse = 1 / (warp_total(sum) + k.silence);
  q = warp_total(q) * inverse;
  for (int d = threadIdx.x; d < pitch; d += 32) {
    float value = 0;
    if (d < D) {
      const float z = k.z(cell, d), share = k.strength(z) * inverse;
      const bool lively = k.scale * z > LEAST_BASE;
      const float direct = g ? g[cell * pitch + d] : 0;
      value = !g ? z * share
                 : k.factor_at(d) * share * (direct + (lively ? k.t * (direct - q / z) : 0));
    }
    to[cell * pitch + d] = value;
  }
}

static void compete(Device& device, const PlTensor& x, const PlTensor& factor, const float* g,
                    float* to, const CompeteAttrs& a) {
  const Axes axes = axes_of(x);
  const float silence = (float)std::pow((double)a.tau, (double)a.power);
  const Competition k = {f32(x), f32(factor), axes, a.scale, a.power, silence};
  const long blocks = (axes.rows() + CELLS_PER_BLOCK - 1) / CELLS_PER_BLOCK;
  launch(device, compete_kernel, dim3((unsigned)blocks), dim3(32, CELLS_PER_BLOCK), 0, k, g, to);
}

void compete_forward(Device& device, const compete_forward_args& t, const CompeteAttrs& a) {
  compete(device, t.x, t.factor, nullptr, f32(t.y), a);
}

void compete_backward(Device& device, const compete_backward_args& t, const CompeteAttrs& a) {
  compete(device, t.x, t.factor, f32(t.g), f32(t.dx), a);
}

}  // namespace cuda
}  // namespace partlens
