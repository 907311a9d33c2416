// Physical layouts of the CUDA backend: channels last, so that they are the contiguous dimension of
// every matrix product. Channels and features are padded to 4 (one 16-byte access) with zeros, in
// inputs and in outputs.
//   rows           (N, F)        [N][Fp]                       Fp = F rounded up to 4
//   rows flattened (N, C*H*W)    [N][H][W][Cp]                 one image of maps is one row
//   maps           (N, C, H, W)  [N][H][W][Cp]
//   conv_weight    (O, C, R, S)  [O][R][S][Cp]
//   linear_weight  (O, F)        [O][Fp]                       Fp as in the rows it multiplies
#pragma once
#include "device.h"

namespace partlens {
namespace cuda {

__host__ __device__ inline int padded(int n) { return (n + 3) / 4 * 4; }
__host__ __device__ inline int tiles_of(int n, int tile) { return (n + tile - 1) / tile; }

// Division by a number that the host knows, in two instructions where the device's own takes
// twenty. With 2^s >= by and magic = ceil(2^(31+s) / by) it is exact for 0 <= n < 2^31, as the
// excess magic * by - 2^(31+s) is less than 2^s. [Granlund, Montgomery 1994]
struct Divisor {
  uint32_t magic;
  int by, shift;

  __host__ __device__ int quotient(int n) const {
    return (int)((uint64_t)(uint32_t)n * magic >> shift);
  }
};
inline Divisor divisor(int by) {
  int s = 0;
  while (1ll << s < by) s++;
  return {(uint32_t)(((1ull << (31 + s)) + by - 1) / by), by, 31 + s};
}

inline float* f32(const PlTensor& t) { return static_cast<float*>(t.data); }
inline int* i32(const PlTensor& t) { return static_cast<int*>(t.data); }

inline int row_count(const PlTensor& t) { return t.rank == 2 ? t.dims[0] : 1; }
inline int features(const PlTensor& t) {
  return t.rank == 0 ? 1 : t.rank == 1 ? t.dims[0] : t.dims[1];
}

// Every tensor as a matrix of rows of channels: (pixel, channel) of maps and conv weights,
// (row, feature) of plain rows. `images` rows of `cells` pixels each.
struct Axes {
  int images, channels, cells;

  __host__ __device__ int pitch() const { return padded(channels); }
  __host__ __device__ long rows() const { return (long)images * cells; }
  __host__ __device__ long elements() const { return rows() * pitch(); }
  __host__ __device__ long count() const { return rows() * channels; }
};

inline Axes axes_of(const PlTensor& t) {
  if (t.layout == PL_MAPS || t.layout == PL_CONV_WEIGHT) {
    return {t.dims[0], t.dims[1], t.dims[2] * t.dims[3]};
  }
  const int rows = t.layout == PL_ROWS ? row_count(t) : t.dims[0];
  if (t.chw[0] > 0) return {rows, t.chw[0], t.chw[1] * t.chw[2]};
  return {rows, features(t), 1};
}

// Number of 4-byte elements in memory, padding included.
inline long elements(const PlTensor& t) { return axes_of(t).elements(); }
// Physical length of one row or image.
inline long row_pitch(const PlTensor& t) {
  const Axes a = axes_of(t);
  return (long)a.cells * a.pitch();
}

}  // namespace cuda
}  // namespace partlens
