// Sums in a fixed order: two runs give the same bits. Nothing here uses atomics.
#pragma once
#include "../launch.h"
#include "../layout.h"
#include "vec.h"

namespace partlens {
namespace cuda {

__device__ __forceinline__ double warp_sum(double v) {
#pragma unroll
  for (int d = 16; d > 0; d /= 2) v += __shfl_xor_sync(~0u, v, d);
  return v;
}

constexpr int SUM_THREADS = 256;

// Sum over the block's 256 threads; every thread gets it.
__device__ inline double block_sum(double v) {
  PL_SHARED(double, warps, [SUM_THREADS / 32]);
  const int t = threadIdx.x;
  v = warp_sum(v);
  if (t % 32 == 0) warps[t / 32] = v;
  __syncthreads();
  double sum = 0;
  for (int w = 0; w < SUM_THREADS / 32; w++) sum += warps[w];
  __syncthreads();
  return sum;
}

// partial[block] = sum of term(i) over the block's share of 0..count-1.
template <class Term>
__global__ void __launch_bounds__(SUM_THREADS)
    sum_partials_kernel(Term term, long count, double* partial) {
  const long step = (long)gridDim.x * SUM_THREADS;
  double sum = 0;
  for (long i = (long)blockIdx.x * SUM_THREADS + threadIdx.x; i < count; i += step) sum += term(i);
  sum = block_sum(sum);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

template <class Finish>
__global__ void __launch_bounds__(SUM_THREADS)
    sum_finish_kernel(Finish finish, const double* partial, int count) {
  double sum = 0;
  for (int i = threadIdx.x; i < count; i += SUM_THREADS) sum += partial[i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) finish(sum);
}

// finish(sum over i of term(i)), on the device. `offset`: where in the slot the partial sums lie.
template <class Term, class Finish>
void sum_all(Device& device, long count, Term term, Finish finish) {
  const long wanted = (count + SUM_THREADS - 1) / SUM_THREADS, most = 4L * device.multiprocessors();
  const int blocks = (int)(wanted < 1 ? 1 : wanted < most ? wanted : most);
  double* partial = device.scratch<double>(PARTIAL_SLOT, blocks);
  launch(device, sum_partials_kernel<Term>, dim3(blocks), dim3(SUM_THREADS), 0, term, count,
         partial);
  launch(device, sum_finish_kernel<Finish>, dim3(1), dim3(SUM_THREADS), 0, finish,
         (const double*)partial, blocks);
}

// Term of sum_all: x^2, four elements at a time.
struct SquareSum {
  const float* x;
  __device__ double operator()(long i) const {
    const float4 v = load4(x + i * 4);
    return (double)v.x * v.x + (double)v.y * v.y + (double)v.z * v.z + (double)v.w * v.w;
  }
};

// Sums over the rows of a matrix, per column: block (32 columns, 8 rows at a time).
constexpr int COLUMNS = 32, ROWS_AT_ONCE = 8;

// partial[split][column] = sum of term(row, column) over the split's rows.
template <class Term>
__global__ void __launch_bounds__(COLUMNS* ROWS_AT_ONCE)
    column_partials_kernel(Term term, long rows, long rows_per_split, int columns,
                           double* partial) {
  PL_SHARED(double, sums, [ROWS_AT_ONCE][COLUMNS]);
  const int lane = threadIdx.x, group = threadIdx.y, column = blockIdx.x * COLUMNS + lane;
  const long begin = blockIdx.y * rows_per_split, end = min(begin + rows_per_split, rows);
  double sum = 0;
  if (column < columns) {
    for (long row = begin + group; row < end; row += ROWS_AT_ONCE) sum += term(row, column);
  }
  sums[group][lane] = sum;
  __syncthreads();
  if (group != 0 || column >= columns) return;
  for (int g = 1; g < ROWS_AT_ONCE; g++) sum += sums[g][lane];
  partial[(long)blockIdx.y * columns + column] = sum;
}

template <class Finish>
struct FinishColumn {
  Finish finish;
  const double* partial;
  int splits, columns;
  __device__ void operator()(long column) const {
    double sum = 0;
    for (int s = 0; s < splits; s++) sum += partial[(long)s * columns + column];
    finish((int)column, sum);
  }
};

// finish(column, sum over rows of term(row, column)) for every column.
template <class Term, class Finish>
void sum_columns(Device& device, long rows, int columns, Term term, Finish finish) {
  const int tiles = tiles_of(columns, COLUMNS);
  long splits = tiles_of(4 * device.multiprocessors(), tiles);
  if (splits > (rows + 31) / 32) splits = (rows + 31) / 32;
  if (splits < 1) splits = 1;
  const long per_split = (rows + splits - 1) / splits;
  double* partial = device.scratch<double>(PARTIAL_SLOT, splits * columns);
  launch(device, column_partials_kernel<Term>, dim3(tiles, (unsigned)splits),
         dim3(COLUMNS, ROWS_AT_ONCE), 0, term, rows, per_split, columns, partial);
  for_each(device, columns, FinishColumn<Finish>{finish, partial, (int)splits, columns});
}

// Entry of a matrix as a term, and a sum that is stored.
struct MatrixEntry {
  const float* matrix;
  int pitch;
  __device__ double operator()(long row, int column) const { return matrix[row * pitch + column]; }
};
struct StoreColumnSum {
  float* to;
  __device__ void operator()(int column, double sum) const { to[column] = (float)sum; }
};

}  // namespace cuda
}  // namespace partlens
