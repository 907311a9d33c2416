// sgd_step: one step of SGD with momentum in place: v = momentum v + g, w -= lr v.
//   in   w, grad, v like w  hyper (3): lr first
//   out  w_out, v_out in the memory of w, v
//   cost reads three, writes two words per parameter; memory bound
#include "sgd.h"

namespace partlens {
namespace cuda {

struct SgdStep {
  float *w, *v;
  const float* grad;
  SgdRule rule;

  __device__ void operator()(long i) const {
    const float4 g = load4(grad + i * 4);
    float4 w4 = load4(w + i * 4), v4 = load4(v + i * 4);
    rule.step(g.x, w4.x, v4.x);
    rule.step(g.y, w4.y, v4.y);
    rule.step(g.z, w4.z, v4.z);
    rule.step(g.w, w4.w, v4.w);
    store4(w + i * 4, w4);
    store4(v + i * 4, v4);
  }
};

void sgd_step(Device& device, const sgd_step_args& t, const SgdAttrs& a) {
  for_each(device, elements(t.w) / 4, SgdStep{f32(t.w), f32(t.v), f32(t.grad), {f32(t.hyper), a}});
}

}  // namespace cuda
}  // namespace partlens
