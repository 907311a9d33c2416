// The share of the parts, for mix_tracks and norm_mix. [Zhang 2018]
#pragma once
#include "../cuda_kernels.h"

namespace partlens {
namespace cuda {

__device__ inline double sigmoid(double w) { return 1 / (1 + exp(-w)); }

__device__ inline float4 mix4(double share, float4 interp, float4 ordin) {
  return add4(scale4((float)share, interp), scale4((float)(1 - share), ordin));
}

// What four elements add to sum g (interp - ordin).
__device__ inline double share_term(float4 g, float4 interp, float4 ordin) {
  return (double)g.x * (interp.x - ordin.x) + (double)g.y * (interp.y - ordin.y) +
         (double)g.z * (interp.z - ordin.z) + (double)g.w * (interp.w - ordin.w);
}

// dw_p = p (1 - p) sum
struct StoreShareGradient {
  const float* w_p;
  float* dw_p;
  __device__ void operator()(double sum) const {
    const double share = sigmoid(*w_p);
    store4(dw_p, make_float4((float)(share * (1 - share) * sum), 0, 0, 0));
  }
};

}  // namespace cuda
}  // namespace partlens
