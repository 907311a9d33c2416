// mask_pool: mask_layer and max-pooling in one pass; the masked maps are never written.
//   in   x (N, D, n, m)   out  y (N, D, P, Q)   index (N, D, P, Q) int32   peak (N, D) int32
//   grid one block per image and 32 maps: 8 lanes of four maps, 32 groups of cells, then of windows
//   cost reads x once from memory and, unless its convolution left the peaks, once more from the
//        cache; writes y and index; memory bound
#include "mask.h"
#include "maxpool2d.h"

namespace partlens {
namespace cuda {

struct MaskPool {
  const float* x;
  PeakParts left;
  float* y;
  int *index, *peak;  // index: or nullptr
  int maps, pitch, n, m, P, Q;
  float slope;  // of the mask: beta / side
  MaskPoolAttrs a;
};

__global__ void __launch_bounds__(MASK_LANES* MASK_GROUPS) mask_pool_forward_kernel(MaskPool t) {
  const int first = (blockIdx.y * MASK_LANES + threadIdx.x) * 4;
  const int n = t.n, m = t.m, pitch = t.pitch;
  const int4 mu = find_peaks(t.x, t.left, first, t.maps, pitch, n * m);
  if (first >= pitch) return;
  if (threadIdx.y == 0) store4(t.peak + (long)blockIdx.x * pitch + first, mu);
  const Masks masks(mu, m, t.slope);
  const float* image = t.x + (long)blockIdx.x * n * m * pitch + first;
  for (int window = threadIdx.y; window < t.P * t.Q; window += MASK_GROUPS) {
    const LargestCells best =
        largest_in_window(t.a, window / t.Q, window % t.Q, n, m, [&](int cell) {
          return times4(load4(image + (long)cell * pitch), masks.at(cell / m, cell % m));
        });
    const long at = ((long)blockIdx.x * t.P * t.Q + window) * pitch + first;
    store4(t.y + at, best.value);
    if (t.index) store_cells(t.index, at, best.cell, first, t.maps);
  }
}

void mask_pool_forward(Device& device, const mask_pool_forward_args& t, const MaskPoolAttrs& a) {
  const int D = t.x.dims[1], pitch = padded(D), n = t.x.dims[2], m = t.x.dims[3];
  const MaskPool all = {f32(t.x),
                        left_peaks(device, t.x),
                        f32(t.y),
                        i32(t.index),
                        i32(t.peak),
                        D,
                        pitch,
                        n,
                        m,
                        t.y.dims[2],
                        t.y.dims[3],
                        a.beta / side_of(n, m),
                        a};
  launch(device, mask_pool_forward_kernel, dim3(t.x.dims[0], tiles_of(pitch, MASK_MAPS)),
         dim3(MASK_LANES, MASK_GROUPS), 0, all);
}

void mask_pool_backward(Device& device, const mask_pool_backward_args& t, const MaskPoolAttrs& a) {
  const int n = t.dx.dims[2], m = t.dx.dims[3];
  const PoolGradient<MaskPoolAttrs> gradient = {f32(t.g), i32(t.index), padded(t.dx.dims[1]), n,
                                                m,        t.g.dims[2],  t.g.dims[3],          a};
  mask_gradient(device, gradient, t.peak, t.gate, t.dx, a.beta);
}

}  // namespace cuda
}  // namespace partlens
