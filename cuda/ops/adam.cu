// adam_step: one Adam step in place.                                [Kingma, Ba 2015]
//   in   w, grad, m, v like w  hyper (3) = lr, 1/(1-b1^t), 1/(1-b2^t)
//   out  w_out, m_out, v_out in the memory of w, m, v
//   cost reads four, writes three words per parameter; memory bound
#include "adam.h"

namespace partlens {
namespace cuda {

struct AdamStep {
  float *w, *m, *v;
  const float* grad;
  AdamRule rule;

  __device__ void operator()(long i) const {
    const float4 g = load4(grad + i * 4);
    float4 w4 = load4(w + i * 4), m4 = load4(m + i * 4), v4 = load4(v + i * 4);
    rule.step(g.x, w4.x, m4.x, v4.x);
    rule.step(g.y, w4.y, m4.y, v4.y);
    rule.step(g.z, w4.z, m4.z, v4.z);
    rule.step(g.w, w4.w, m4.w, v4.w);
    store4(w + i * 4, w4);
    store4(m + i * 4, m4);
    store4(v + i * 4, v4);
  }
};

void adam_step(Device& device, const adam_step_args& t, const AdamAttrs& a) {
  for_each(device, elements(t.w) / 4,
           AdamStep{f32(t.w), f32(t.m), f32(t.v), f32(t.grad), {f32(t.hyper), a}});
}

}  // namespace cuda
}  // namespace partlens
