// mask_layer: keep each map near its peak, silence the rest.        [Zhang 2018]
//   in   x (N, D, n, n)                     out  y (N, D, n, n)   peak (N, D) int32
//   grid one block per image and 32 maps: 8 lanes of four maps, 32 groups of cells
//   cost reads x once from memory and once more from the cache, writes y once; memory bound
//   y = x * max(1 - beta |[i,j] - mu|_1 / n, 0); backward: the same mask, a constant. No template
//   tensor: the mask's value follows from the distance.
#include "../cuda_kernels.h"

namespace partlens {
namespace cuda {

constexpr int MASK_LANES = 8, MASK_GROUPS = 32, MASK_MAPS = MASK_LANES * 4;

struct Peak {
  float value;
  int cell;
  // The first of equal cells wins.
  __device__ void take(float v, int i) {
    if (v > value || (v == value && i < cell)) {
      value = v;
      cell = i;
    }
  }
};

__device__ inline float mask_at(int mu, int i, int j, int n, float beta) {
  const int distance = abs(i - mu / n) + abs(j - mu % n);
  return fmaxf(1 - beta / n * distance, 0);
}

// y = x * mask for the four maps whose peaks are mu, over this thread's cells.
__device__ inline void apply_mask(const float* x, float* y, int4 mu, int pitch, int n, float beta) {
  for (int cell = threadIdx.y; cell < n * n; cell += MASK_GROUPS) {
    const int i = cell / n, j = cell % n;
    const float4 mask = make_float4(mask_at(mu.x, i, j, n, beta), mask_at(mu.y, i, j, n, beta),
                                    mask_at(mu.z, i, j, n, beta), mask_at(mu.w, i, j, n, beta));
    store4(y + (long)cell * pitch, times4(load4(x + (long)cell * pitch), mask));
  }
}

__global__ void __launch_bounds__(MASK_LANES* MASK_GROUPS)
    mask_layer_forward_kernel(const float* x, float* y, int* peak, int maps, int pitch, int n,
                              float beta) {
  PL_SHARED(Peak, found, [MASK_GROUPS][MASK_MAPS]);
  const int lane = threadIdx.x, group = threadIdx.y;
  const int first = (blockIdx.y * MASK_LANES + lane) * 4;  // of this thread's four maps
  const bool inside = first < pitch;
  const long image = (long)blockIdx.x * n * n * pitch + first;
  Peak best[4];
#pragma unroll
  for (int c = 0; c < 4; c++) best[c] = {-INFINITY, n * n};
  for (int cell = group; inside && cell < n * n; cell += MASK_GROUPS) {
    const float4 v = load4(x + image + (long)cell * pitch);
    best[0].take(v.x, cell);
    best[1].take(v.y, cell);
    best[2].take(v.z, cell);
    best[3].take(v.w, cell);
  }
#pragma unroll
  for (int c = 0; c < 4; c++) found[group][lane * 4 + c] = best[c];
  __syncthreads();
  if (group == 0) {
#pragma unroll
    for (int c = 0; c < 4; c++) {
      Peak top = found[0][lane * 4 + c];
      for (int g = 1; g < MASK_GROUPS; g++) {
        const Peak other = found[g][lane * 4 + c];
        top.take(other.value, other.cell);
      }
      // Maps of nothing but NaN have no peak; padding has its first cell, but stays unsaid.
      found[0][lane * 4 + c].cell = top.cell < n * n && first + c < maps ? top.cell : 0;
    }
  }
  __syncthreads();
  if (!inside) return;
  const Peak* own = found[0] + lane * 4;
  const int4 mu = make_int4(own[0].cell, own[1].cell, own[2].cell, own[3].cell);
  if (group == 0) store4(peak + (long)blockIdx.x * pitch + first, mu);
  apply_mask(x + image, y + image, mu, pitch, n, beta);
}

__global__ void __launch_bounds__(MASK_LANES* MASK_GROUPS)
    mask_layer_backward_kernel(const float* g, const int* peak, float* dx, int pitch, int n,
                               float beta) {
  const int first = (blockIdx.y * MASK_LANES + threadIdx.x) * 4;
  if (first >= pitch) return;
  const long image = (long)blockIdx.x * n * n * pitch + first;
  const int4 mu = load4(peak + (long)blockIdx.x * pitch + first);
  apply_mask(g + image, dx + image, mu, pitch, n, beta);
}

void mask_layer_forward(Device& device, const mask_layer_forward_args& t, const MaskLayerAttrs& a) {
  const int D = t.x.dims[1], pitch = padded(D);
  launch(device, mask_layer_forward_kernel, dim3(t.x.dims[0], tiles_of(pitch, MASK_MAPS)),
         dim3(MASK_LANES, MASK_GROUPS), 0, (const float*)f32(t.x), f32(t.y), i32(t.peak), D, pitch,
         t.x.dims[2], a.beta);
}

void mask_layer_backward(Device& device, const mask_layer_backward_args& t,
                         const MaskLayerAttrs& a) {
  const int pitch = padded(t.g.dims[1]);
  launch(device, mask_layer_backward_kernel, dim3(t.g.dims[0], tiles_of(pitch, MASK_MAPS)),
         dim3(MASK_LANES, MASK_GROUPS), 0, (const float*)f32(t.g), (const int*)i32(t.peak),
         f32(t.dx), pitch, t.g.dims[2], a.beta);
}

}  // namespace cuda
}  // namespace partlens
