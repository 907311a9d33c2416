// One Adam step over neighbours in memory, for adam_step and linear_adam_step.
#pragma once
#include "../cpu_kernels.h"

namespace partlens {
namespace PL_ISA {

struct AdamStep {
  float lr, c1, c2;  // hyper, the learning rate with the parameter's factor
  AdamAttrs k;

  AdamStep(const float* hyper, const AdamAttrs& a)
      : lr(hyper[0] * a.lr_scale), c1(hyper[1]), c2(hyper[2]), k(a) {}

  void run(const float* grad, float* w, float* m, float* v, long count) const {
    for (long i = 0; i < count; i++) {
      const float g = grad[i] + k.weight_decay * w[i];
      m[i] = k.beta1 * m[i] + (1 - k.beta1) * g;
      v[i] = k.beta2 * v[i] + (1 - k.beta2) * g * g;
      w[i] -= lr * (m[i] * c1) / (sqrtf(v[i] * c2) + k.eps);
    }
  }
};

}  // namespace PL_ISA
}  // namespace partlens
