// The mask of an interpretable map of n x m cells, max(1 - beta |[i,j] - mu|_1 / s, 0), s =
// sqrt(n m), for mask_layer and mask_pool: blocks of 8 lanes of four maps and 32 groups of cells.
// [Zhang 2018]
#pragma once
#include "../cuda_kernels.h"
#include "../device/peaks.h"

namespace partlens {
namespace cuda {

constexpr int MASK_LANES = 8, MASK_GROUPS = 32, MASK_MAPS = MASK_LANES * 4;

// sqrt(n m), what distances in templates and masks are measured by; n exactly for n x n cells.
inline float side_of(int n, int m) { return (float)std::sqrt((double)n * m); }

// What the convolution that made x has left of its peaks, if it has.
inline PeakParts left_peaks(Device& device, const PlTensor& x) {
  if (!device.has_peaks(x.data)) return {};
  return peak_parts(device, x.dims[0], padded(x.dims[1]), x.dims[2] * x.dims[3]);
}

// The first largest cells of this thread's four maps, of image blockIdx.x from channel `first` on.
// All threads of a block call this.
__device__ inline int4 find_peaks(const float* x, const PeakParts& left, int first, int maps,
                                  int pitch, int cells) {
  PL_SHARED(Peak, found, [MASK_GROUPS][MASK_MAPS]);
  const int lane = threadIdx.x, group = threadIdx.y;
  const float* image = x + (long)blockIdx.x * cells * pitch + first;
  const int begin = left.parts ? left.first_tile(blockIdx.x) : 0;
  const int end = first >= pitch ? 0 : left.parts ? left.end_tile(blockIdx.x) : cells;
  Peak best[4];
#pragma unroll
  for (int c = 0; c < 4; c++) best[c] = Peak::none();
  for (int i = begin + group; i < end; i += MASK_GROUPS) {
    if (left.parts) {
      const Peak* of = left.of(blockIdx.x, i) + first;
#pragma unroll
      for (int c = 0; c < 4; c++) best[c].take(of[c].value, of[c].cell);
    } else {
      const float4 v = load4(image + (long)i * pitch);
      best[0].take(v.x, i);
      best[1].take(v.y, i);
      best[2].take(v.z, i);
      best[3].take(v.w, i);
    }
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
      found[0][lane * 4 + c].cell = top.cell < cells && first + c < maps ? top.cell : 0;
    }
  }
  __syncthreads();
  const Peak* own = found[0] + lane * 4;
  return make_int4(own[0].cell, own[1].cell, own[2].cell, own[3].cell);
}

// The masks of four maps, m cells wide, whose peaks are mu; slope: beta / side.
struct Masks {
  int4 row, column;
  float slope;

  __device__ Masks(int4 mu, int m, float slope)
      : row(make_int4(mu.x / m, mu.y / m, mu.z / m, mu.w / m)),
        column(make_int4(mu.x % m, mu.y % m, mu.z % m, mu.w % m)),
        slope(slope) {}
  __device__ float4 at(int i, int j) const {
    return make_float4(at(row.x, column.x, i, j), at(row.y, column.y, i, j),
                       at(row.z, column.z, i, j), at(row.w, column.w, i, j));
  }

 private:
  __device__ float at(int y, int x, int i, int j) const {
    return fmaxf(1 - slope * (abs(i - y) + abs(j - x)), 0);
  }
};

// dx = gradient.at(image, cell, channel) * mask, cut by the gate; blocks as above.
template <class Gradient>
__global__ void __launch_bounds__(MASK_LANES* MASK_GROUPS)
    mask_gradient_kernel(Gradient gradient, const int* peak, const float* gate, float* dx,
                         int pitch, int n, int m, float slope) {
  const int first = (blockIdx.y * MASK_LANES + threadIdx.x) * 4;
  if (first >= pitch) return;
  const Masks masks(load4(peak + (long)blockIdx.x * pitch + first), m, slope);
  for (int cell = threadIdx.y; cell < n * m; cell += MASK_GROUPS) {
    const long at = ((long)blockIdx.x * n * m + cell) * pitch + first;
    const float4 g = gradient.at((int)blockIdx.x, cell, first);
    store4(dx + at, gate4(times4(g, masks.at(cell / m, cell % m)), gate, at));
  }
}

template <class Gradient>
void mask_gradient(Device& device, const Gradient& gradient, const PlTensor& peak,
                   const PlTensor& gate, const PlTensor& dx, float beta) {
  const int pitch = padded(dx.dims[1]), n = dx.dims[2], m = dx.dims[3];
  launch(device, mask_gradient_kernel<Gradient>, dim3(dx.dims[0], tiles_of(pitch, MASK_MAPS)),
         dim3(MASK_LANES, MASK_GROUPS), 0, gradient, (const int*)i32(peak), (const float*)f32(gate),
         f32(dx), pitch, n, m, beta / side_of(n, m));
}

}  // namespace cuda
}  // namespace partlens
