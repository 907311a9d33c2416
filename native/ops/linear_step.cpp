// linear_adam_step, linear_sgd_step: dw = g^T x and the optimizer's step, block by block: the
// gradient of a fully connected layer never reaches memory.
//   in   g (N, O)  x (N, F)  w, m, v (O, F) as panels [O/16][F][16]  hyper (3)
//   out  w_out, m_out, v_out in the memory of w, m, v
//   grid as linear_backward_weight
//   cost 2 N O F flop; reads and writes each of w, m, v once instead of eight words per parameter
#include "../simd/chunks.h"
#include "adam.h"
#include "linear_gradient.h"
#include "sgd.h"

namespace partlens {
namespace PL_ISA {

// Calls step(gradient, place) for stretches of 16 x 16 neighbours of the weight.
template <class Step>
static void step_blocks(Device& device, const PlTensor& g, const PlTensor& x, Step step) {
  const long panel = (long)row_stride(x) * BLOCK;
  for_gradient_blocks(device, g, x, [=](Outer outer, long at, int panels) {
    alignas(64) float gradient[TILE_PANELS * BLOCK * BLOCK];
    outer.g = gradient;
    outer.g_panel = BLOCK * BLOCK;
    outer_product(outer, BLOCK, panels);
    for (int p = 0; p < panels; p++) step(gradient + p * BLOCK * BLOCK, at + p * panel);
  });
}

void linear_adam_step(Device& device, const linear_adam_step_args& t, const AdamAttrs& a) {
  const AdamStep step(f32(t.hyper), a);
  float *w = f32(t.w), *m = f32(t.m), *v = f32(t.v);
  step_blocks(device, t.g, t.x, [=](const float* gradient, long at) {
    step.run(gradient, w + at, m + at, v + at, BLOCK * BLOCK);
  });
}

void linear_sgd_step(Device& device, const linear_sgd_step_args& t, const SgdAttrs& a) {
  const SgdStep step(f32(t.hyper), a);
  float *w = f32(t.w), *v = f32(t.v);
  step_blocks(device, t.g, t.x, [=](const float* gradient, long at) {
    step.run(gradient, w + at, v + at, BLOCK * BLOCK);
  });
}

}  // namespace PL_ISA
}  // namespace partlens
