// mask_layer: keep each map near its peak, silence the rest.        [Zhang 2018]
//   in   x (N, D, n, m)                     out  y (N, D, n, m)   peak (N, D) int32
//   grid one block per image and 32 maps: 8 lanes of four maps, 32 groups of cells
//   cost reads x once from memory and, unless its convolution left the peaks, once more from the
//        cache; writes y once; memory bound
//   y = x * max(1 - beta |[i,j] - mu|_1 / sqrt(n m), 0); backward: the same mask, a constant. No
//   template tensor: the mask's value follows from the distance.
#include "mask.h"

namespace partlens {
namespace cuda {

__global__ void __launch_bounds__(MASK_LANES* MASK_GROUPS)
    mask_layer_forward_kernel(const float* x, PeakParts left, float* y, int* peak, int maps,
                              int pitch, int n, int m, float slope, bool round) {
  const int first = (blockIdx.y * MASK_LANES + threadIdx.x) * 4;  // of this thread's four maps
  const int4 mu = find_peaks(x, left, first, maps, pitch, n * m);
  if (first >= pitch) return;
  if (threadIdx.y == 0) store4(peak + (long)blockIdx.x * pitch + first, mu);
  const Masks masks(mu, m, slope);
  const long image = (long)blockIdx.x * n * m * pitch + first;
  for (int cell = threadIdx.y; cell < n * m; cell += MASK_GROUPS) {
    const long at = image + (long)cell * pitch;
    store4(y + at, round4(times4(load4(x + at), masks.at(cell / m, cell % m)), round));
  }
}

void mask_layer_forward(Device& device, const mask_layer_forward_args& t, const MaskLayerAttrs& a) {
  const int D = t.x.dims[1], pitch = padded(D), n = t.x.dims[2], m = t.x.dims[3];
  launch(device, mask_layer_forward_kernel, dim3(t.x.dims[0], tiles_of(pitch, MASK_MAPS)),
         dim3(MASK_LANES, MASK_GROUPS), 0, (const float*)f32(t.x), left_peaks(device, t.x),
         f32(t.y), i32(t.peak), D, pitch, n, m, a.beta / side_of(n, m), a.round && device.rounds());
}

struct GivenGradient {
  const float* g;
  int pitch, cells;
  __device__ float4 at(int image, int cell, int c) const {
    return load4(g + ((long)image * cells + cell) * pitch + c);
  }
};

void mask_layer_backward(Device& device, const mask_layer_backward_args& t, const MaskAttrs& a) {
  const int cells = t.g.dims[2] * t.g.dims[3];
  const GivenGradient gradient = {f32(t.g), padded(t.g.dims[1]), cells};
  mask_gradient(device, gradient, t.peak, t.gate, t.dx, a.beta);
}

}  // namespace cuda
}  // namespace partlens
