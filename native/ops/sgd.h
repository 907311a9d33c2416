// One step of SGD with momentum over neighbours in memory, for sgd_step and linear_sgd_step.
#pragma once
#include "../cpu_kernels.h"

namespace partlens {
namespace PL_ISA {

struct SgdStep {
  float lr, momentum, decay;

  SgdStep(const float* hyper, const SgdAttrs& a)
      : lr(hyper[0] * a.lr_scale), momentum(a.momentum), decay(a.weight_decay) {}

  void run(const float* grad, float* w, float* v, long count) const {
    for (long i = 0; i < count; i++) {
      v[i] = momentum * v[i] + grad[i] + decay * w[i];
      w[i] -= lr * v[i];
    }
  }
};

}  // namespace PL_ISA
}  // namespace partlens
