// Physical layouts of the CPU backend, the same for every instruction set. Channels and features
// come in blocks of 16; the lanes beyond the logical size are always zero, in inputs and in
// outputs.
//   rows           (N, F)        [N][Fp]                          Fp = F rounded up to 16
//   rows flattened (N, C*H*W)    [N][C/16][H][W][16]              one image of maps is one row
//   maps           (N, C, H, W)  [N][C/16][H][W][16]
//   picture        (N, C, H, W)  [N][C][H][W], C up to 8: as the host has it, without blocks
//   conv_weight    (O, C, R, S)  [O/16][C/16][R][S][16 c][16 o]
//   linear_weight  (O, F)        [O/16][Fp][16 o]                 Fp as in the rows it multiplies
#pragma once
#include <string.h>

#include "device.h"

namespace partlens {
namespace PL_ISA {

constexpr int BLOCK = 16;

static inline int blocks_of(int n) { return (n + BLOCK - 1) / BLOCK; }
static inline int padded(int n) { return blocks_of(n) * BLOCK; }
static inline float* f32(const PlTensor& t) { return static_cast<float*>(t.data); }
static inline int* i32(const PlTensor& t) { return static_cast<int*>(t.data); }

// rows (and the columns of linear_weight): number of rows, logical and physical length of one
static inline int row_count(const PlTensor& t) { return t.rank == 2 ? t.dims[0] : 1; }
static inline int features(const PlTensor& t) {
  return t.rank == 0 ? 1 : t.rank == 1 ? t.dims[0] : t.dims[1];
}
static inline int row_stride(const PlTensor& t) {
  return t.chw[0] > 0 ? padded(t.chw[0]) * t.chw[1] * t.chw[2] : padded(features(t));
}

// Number of 4-byte elements in memory, padding included.
static inline long elements(const PlTensor& t) {
  switch (t.layout) {
    case PL_MAPS:
      return (long)t.dims[0] * padded(t.dims[1]) * t.dims[2] * t.dims[3];
    case PL_PICTURE:
      return (long)t.dims[0] * t.dims[1] * t.dims[2] * t.dims[3];
    case PL_CONV_WEIGHT:
      return (long)padded(t.dims[0]) * padded(t.dims[1]) * t.dims[2] * t.dims[3];
    case PL_LINEAR_WEIGHT:
      return (long)padded(t.dims[0]) * row_stride(t);
    default:
      return (long)row_count(t) * row_stride(t);
  }
}

// Calls body(index, worker) for index 0..count-1 on the device's threads. Split work by shape only,
// never by the number of threads: results must not depend on it.
template <class Body>
static void parallel_for(Device& device, int count, Body body) {
  device.parallel(
      count,
      [](void* context, int index, int worker) { (*static_cast<Body*>(context))(index, worker); },
      &body);
}

}  // namespace PL_ISA
}  // namespace partlens
