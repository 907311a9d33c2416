// One row of softmax by one block, shared by softmax, softmax_cross_entropy and kl_divergence.
#pragma once
#include "../cuda_kernels.h"

namespace partlens {
namespace cuda {

__device__ inline float block_max(float v) {
  PL_SHARED(float, warps, [SUM_THREADS / 32]);
  const int t = threadIdx.x;
#pragma unroll
  for (int d = 16; d > 0; d /= 2) v = fmaxf(v, __shfl_xor_sync(~0u, v, d));
  if (t % 32 == 0) warps[t / 32] = v;
  __syncthreads();
  float top = warps[0];
  for (int w = 1; w < SUM_THREADS / 32; w++) top = fmaxf(top, warps[w]);
  __syncthreads();
  return top;
}

// y = softmax(x), padding 0, of `length` lanes: `channels` of each `pitch` hold features; returns
// log sum exp(x) to every thread.
__device__ inline double softmax_row(const float* x, float* y, int length, int channels,
                                     int pitch) {
  float top = -INFINITY;
  for (int f = threadIdx.x; f < length; f += SUM_THREADS) {
    if (f % pitch < channels) top = fmaxf(top, x[f]);
  }
  top = block_max(top);
  double sum = 0;
  for (int f = threadIdx.x; f < length; f += SUM_THREADS) {
    if (f % pitch >= channels) continue;
    const float e = expf(x[f] - top);
    y[f] = e;
    sum += e;
  }
  sum = block_sum(sum);
  const float share = (float)(1 / sum);
  for (int f = threadIdx.x; f < length; f += SUM_THREADS) {
    y[f] = f % pitch < channels ? y[f] * share : 0;
  }
  return log(sum) + top;
}

}  // namespace cuda
}  // namespace partlens
