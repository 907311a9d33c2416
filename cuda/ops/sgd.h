// One step of SGD with momentum, for sgd_step and linear_sgd_step.
#pragma once
#include "../cuda_kernels.h"

namespace partlens {
namespace cuda {

struct SgdRule {
  const float* hyper;
  SgdAttrs k;

  __device__ void step(float grad, float& w, float& v) const {
    v = k.momentum * v + grad + k.weight_decay * w;
    w -= hyper[0] * k.lr_scale * v;
  }
};

}  // namespace cuda
}  // namespace partlens
