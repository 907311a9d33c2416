// sgd_step: one step of SGD with momentum in place: v = momentum v + g, w -= lr v.
//   in   w, grad, v like w  hyper (3): lr first
//   out  w_out, v_out in the memory of w, v
//   cost reads three, writes two words per parameter; memory bound
#include "sgd.h"

#include "../simd/chunks.h"

namespace partlens {
namespace PL_ISA {

void sgd_step(Device& device, const sgd_step_args& t, const SgdAttrs& a) {
  const SgdStep step(f32(t.hyper), a);
  const float* grad = f32(t.grad);
  float *w = f32(t.w), *v = f32(t.v);
  for_chunks(device, elements(t.w), [=](long begin, long end, int) {
    step.run(grad + begin, w + begin, v + begin, end - begin);
  });
}

}  // namespace PL_ISA
}  // namespace partlens
