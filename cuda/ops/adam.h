// One Adam step, for adam_step and linear_adam_step.
#pragma once
#include "../cuda_kernels.h"

namespace partlens {
namespace cuda {

struct AdamRule {
  const float* hyper;
  AdamAttrs k;

  __device__ void step(float grad, float& w, float& m, float& v) const {
    const float g = grad + k.weight_decay * w;
    m = k.beta1 * m + (1 - k.beta1) * g;
    v = k.beta2 * v + (1 - k.beta2) * g * g;
    w -= hyper[0] * k.lr_scale * (m * hyper[1]) / (sqrtf(v * hyper[2]) + k.eps);
  }
};

}  // namespace cuda
}  // namespace partlens
