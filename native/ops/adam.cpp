// adam_step: one Adam step in place.                                [Kingma, Ba 2015]
//   in   w, grad, m, v like w  hyper (3) = lr, 1/(1-b1^t), 1/(1-b2^t)
//   out  w_out, m_out, v_out in the memory of w, m, v
//   cost reads four, writes three words per parameter; memory bound
#include "../cpu_kernels.h"
#include "../simd/chunks.h"

namespace partlens {
namespace PL_ISA {

void adam_step(Device& device, const adam_step_args& t, const AdamAttrs& a) {
  float *w = f32(t.w), *m = f32(t.m), *v = f32(t.v);
  const float *grad = f32(t.grad), *hyper = f32(t.hyper);
  const float lr = hyper[0] * a.lr_scale, c1 = hyper[1], c2 = hyper[2];
  const AdamAttrs k = a;
  for_chunks(device, elements(t.w), [=](long begin, long end, int) {
    for (long i = begin; i < end; i++) {
      const float g = grad[i] + k.weight_decay * w[i];
      m[i] = k.beta1 * m[i] + (1 - k.beta1) * g;
      v[i] = k.beta2 * v[i] + (1 - k.beta2) * g * g;
      w[i] -= lr * (m[i] * c1) / (sqrtf(v[i] * c2) + k.eps);
    }
  });
}

}  // namespace PL_ISA
}  // namespace partlens
