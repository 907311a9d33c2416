// linear_adam_step, linear_sgd_step: the optimizer's step on the weight of a fully connected layer,
// with dw = g^T x, which never reaches memory, and on request dx = g w from the weight before the
// step.
//   in   g (N, O)  x (N, F)  w, m, v (O, F) as panels [O/16][F][16]  hyper (3)
//   out  w_out, m_out, v_out in the memory of w, m, v   dx (N, F) or none
//   grid as linear_backward_weight, or as linear_backward_data
//   cost 2 or 4 N O F flop; reads and writes each of w, m, v once: five words per parameter with
//   SGD,
//        seven with Adam, where separate calls move eight or ten
#include "../simd/chunks.h"
#include "adam.h"
#include "linear_gradient.h"
#include "sgd.h"

namespace partlens {
namespace PL_ISA {

// Calls step(gradient, place) for stretches of 16 x 16 neighbours of the weight.
template <class Args, class Step>
static void step_blocks(Device& device, const Args& t, Step step) {
  const BlockedRows g(device, t.g, G_SLOT), x(device, t.x, X_SLOT);
  const long stride = x.stride;
  const auto step_block = [=](int panel, int panels, int b) {
    alignas(64) float gradient[TILE_PANELS * BLOCK * BLOCK];
    Outer outer = gradient_block(g, x, panel, b);
    outer.g = gradient;
    outer.g_panel = BLOCK * BLOCK;
    outer_product(outer, BLOCK, panels);
    for (int p = 0; p < panels; p++) {
      step(gradient + p * BLOCK * BLOCK, ((panel + p) * stride + b * BLOCK) * BLOCK);
    }
  };
  if (!t.dx.data) return for_gradient_blocks(device, g, x, step_block);
  data_gradient(device, g, f32(t.w), t.dx, [=](int o, int outputs, int f, int features) {
    for (int panel = o; panel < o + outputs; panel += TILE_PANELS) {
      for (int b = f; b < f + features; b++) step_block(panel, panels_at(panel, o + outputs), b);
    }
  });
}

void linear_adam_step(Device& device, const linear_adam_step_args& t, const AdamAttrs& a) {
  const AdamStep step(f32(t.hyper), a);
  float *w = f32(t.w), *m = f32(t.m), *v = f32(t.v);
  step_blocks(device, t, [=](const float* gradient, long at) {
    step.run(gradient, w + at, m + at, v + at, BLOCK * BLOCK);
  });
}

void linear_sgd_step(Device& device, const linear_sgd_step_args& t, const SgdAttrs& a) {
  const SgdStep step(f32(t.hyper), a);
  float *w = f32(t.w), *v = f32(t.v);
  step_blocks(device, t, [=](const float* gradient, long at) {
    step.run(gradient, w + at, v + at, BLOCK * BLOCK);
  });
}

}  // namespace PL_ISA
}  // namespace partlens
