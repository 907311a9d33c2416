// Shares of competing filters, e / (sum of e + tau^t) with e = max(base, 1e-6)^t: for compete and
// part_gates.
#pragma once
#include "../cuda_kernels.h"

namespace partlens {
namespace cuda {

constexpr float LEAST_BASE = 1e-6f;

__device__ __forceinline__ float strength_of(float base, float t) {
  const float held = fmaxf(base, LEAST_BASE);
  if (t != 4) return powf(held, t);
  const float square = held * held;
  return square * square;
}

// Sum over the warp's 32 lanes; every lane gets it.
__device__ __forceinline__ float warp_total(float v) {
#pragma unroll
  for (int d = 16; d > 0; d /= 2) v += __shfl_xor_sync(~0u, v, d);
  return v;
}

}  // namespace cuda
}  // namespace partlens
