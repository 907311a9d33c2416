// sgd_step: one step of SGD with momentum in place: v = momentum v + g, w -= lr v.
//   in   w, grad, v like w  hyper (3): lr first
//   out  w_out, v_out in the memory of w, v
//   cost reads three, writes two words per parameter; memory bound
#include "../cpu_kernels.h"
#include "../simd/chunks.h"

namespace partlens {
namespace PL_ISA {

void sgd_step(Device& device, const sgd_step_args& t, const SgdAttrs& a) {
  float *w = f32(t.w), *v = f32(t.v);
  const float* grad = f32(t.grad);
  const float lr = f32(t.hyper)[0] * a.lr_scale, momentum = a.momentum, decay = a.weight_decay;
  for_chunks(device, elements(t.w), [=](long begin, long end, int) {
    for (long i = begin; i < end; i++) {
      v[i] = momentum * v[i] + grad[i] + decay * w[i];
      w[i] -= lr * v[i];
    }
  });
}

}  // namespace PL_ISA
}  // namespace partlens
