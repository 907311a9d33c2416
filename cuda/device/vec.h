// Four neighbours at once: the unit of every memory-bound kernel.
#pragma once
#include <cuda_runtime.h>

#include "ptx.h"

namespace partlens {
namespace cuda {

__device__ __forceinline__ float4 load4(const float* p) {
  return *reinterpret_cast<const float4*>(p);
}
__device__ __forceinline__ void store4(float* p, float4 v) { *reinterpret_cast<float4*>(p) = v; }
__device__ __forceinline__ int4 load4(const int* p) { return *reinterpret_cast<const int4*>(p); }
__device__ __forceinline__ void store4(int* p, int4 v) { *reinterpret_cast<int4*>(p) = v; }

// { f(a.x), f(a.y), ... }; `f` is a struct with a __device__ operator().
template <class F>
__device__ __forceinline__ float4 map4(float4 a, F f) {
  return make_float4(f(a.x), f(a.y), f(a.z), f(a.w));
}
template <class F>
__device__ __forceinline__ float4 map4(float4 a, float4 b, F f) {
  return make_float4(f(a.x, b.x), f(a.y, b.y), f(a.z, b.z), f(a.w, b.w));
}
__device__ __forceinline__ float4 scale4(float s, float4 a) {
  return make_float4(s * a.x, s * a.y, s * a.z, s * a.w);
}
__device__ __forceinline__ float4 add4(float4 a, float4 b) {
  return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}
// v where the ReLU whose output is `gate` lets it through, 0 elsewhere; all of it without a gate.
__device__ __forceinline__ float4 gate4(float4 v, const float* gate, long at) {
  if (!gate) return v;
  const float4 y = load4(gate + at);
  return make_float4(y.x > 0 ? v.x : 0, y.y > 0 ? v.y : 0, y.z > 0 ? v.z : 0, y.w > 0 ? v.w : 0);
}
// Maps that convolutions read are stored as the tensor cores will cut them, but to the nearest: see
// `rounds` in device.h.
__device__ __forceinline__ float round1(float v, bool round) {
  return round ? __uint_as_float(round_tf32(v)) : v;
}
__device__ __forceinline__ float4 round4(float4 v, bool round) {
  return make_float4(round1(v.x, round), round1(v.y, round), round1(v.z, round),
                     round1(v.w, round));
}
__device__ __forceinline__ float4 times4(float4 a, float4 b) {
  return make_float4(a.x * b.x, a.y * b.y, a.z * b.z, a.w * b.w);
}

}  // namespace cuda
}  // namespace partlens
