// Zeros for the lanes beyond the logical channels.
#pragma once
#include "../layout.h"

namespace partlens {
namespace cuda {

// The first `count` of four channels, the others 0.
__device__ __forceinline__ float4 first4(float4 v, int count) {
  return make_float4(count > 0 ? v.x : 0, count > 1 ? v.y : 0, count > 2 ? v.z : 0,
                     count > 3 ? v.w : 0);
}
// v is group `i` of four elements of a tensor.
__device__ __forceinline__ float4 without_padding(float4 v, const Axes& axes, long i) {
  if (axes.channels % 4 == 0) return v;
  return first4(v, axes.channels - (int)(i * 4 % axes.pitch()));
}

}  // namespace cuda
}  // namespace partlens
