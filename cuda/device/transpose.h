// Transposed matrices by way of shared memory: whole rows are read, whole rows are written.
//   to[batch][column][row] = convert(from[batch][row][column])
//   grid  one block for 32 x 32 elements; 32 x 8 threads
//   cost  reads and writes each element once; memory bound
#pragma once
#include "../launch.h"
#include "../layout.h"
#include "vec.h"

namespace partlens {
namespace cuda {

struct Transposition {
  int batches, rows, columns;
  long from_batch, from_pitch, to_batch, to_pitch;
  int width;  // of to's rows, at least `rows`: the rest becomes zero
};

template <class T>
struct Keep {
  typedef T Value;
  __device__ T operator()(T v) const { return v; }
};
struct RoundTf32 {
  typedef float Value;
  bool round;
  __device__ float operator()(float v) const { return round1(v, round); }
};

constexpr int TRANSPOSE_SIDE = 32, TRANSPOSE_ROWS = 8;

template <class Convert>
__global__ void __launch_bounds__(TRANSPOSE_SIDE* TRANSPOSE_ROWS)
    transpose_kernel(const typename Convert::Value* from, typename Convert::Value* to,
                     Transposition s, Convert convert) {
  typedef typename Convert::Value Value;
  PL_SHARED(Value, tile, [TRANSPOSE_SIDE][TRANSPOSE_SIDE + 1]);  // + 1: no bank conflicts
  const int across = tiles_of(s.columns, TRANSPOSE_SIDE), down = tiles_of(s.width, TRANSPOSE_SIDE);
  const int column0 = blockIdx.x % across * TRANSPOSE_SIDE;
  const int row0 = blockIdx.x / across % down * TRANSPOSE_SIDE;
  const long batch = blockIdx.x / across / down;
  const int x = threadIdx.x;
#pragma unroll
  for (int y = threadIdx.y; y < TRANSPOSE_SIDE; y += TRANSPOSE_ROWS) {
    const bool inside = row0 + y < s.rows && column0 + x < s.columns;
    tile[y][x] =
        inside ? convert(from[batch * s.from_batch + (row0 + y) * s.from_pitch + column0 + x]) : 0;
  }
  __syncthreads();
#pragma unroll
  for (int y = threadIdx.y; y < TRANSPOSE_SIDE; y += TRANSPOSE_ROWS) {
    if (row0 + x < s.width && column0 + y < s.columns) {
      to[batch * s.to_batch + (column0 + y) * s.to_pitch + row0 + x] = tile[x][y];
    }
  }
}

template <class Convert>
void transpose(Device& device, const typename Convert::Value* from, typename Convert::Value* to,
               const Transposition& s, Convert convert) {
  const long blocks =
      (long)s.batches * tiles_of(s.columns, TRANSPOSE_SIDE) * tiles_of(s.width, TRANSPOSE_SIDE);
  launch(device, transpose_kernel<Convert>, dim3((unsigned)blocks),
         dim3(TRANSPOSE_SIDE, TRANSPOSE_ROWS), 0, from, to, s, convert);
}

}  // namespace cuda
}  // namespace partlens
