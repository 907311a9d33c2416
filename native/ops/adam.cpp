// adam_step: one Adam step in place.                                [Kingma, Ba 2015]
//   in   w, grad, m, v like w  hyper (3) = lr, 1/(1-b1^t), 1/(1-b2^t)
//   out  w_out, m_out, v_out in the memory of w, m, v
//   cost reads four, writes three words per parameter; memory bound
#include "adam.h"

#include "../simd/chunks.h"

namespace partlens {
namespace PL_ISA {

void adam_step(Device& device, const adam_step_args& t, const AdamAttrs& a) {
  const AdamStep step(f32(t.hyper), a);
  const float* grad = f32(t.grad);
  float *w = f32(t.w), *m = f32(t.m), *v = f32(t.v);
  for_chunks(device, elements(t.w), [=](long begin, long end, int) {
    step.run(grad + begin, w + begin, m + begin, v + begin, end - begin);
  });
}

}  // namespace PL_ISA
}  // namespace partlens
