// affine: y = scale[c] x + shift[c], then ReLU where asked for; backward dx = scale[c] g, 0 where
// that ReLU is closed.
//   in   x maps or rows, scale, shift (C), of rows (F)      out  y like x
//   cost reads one or two, writes one element each; memory bound
#include "../cpu_kernels.h"
#include "../simd/channel_blocks.h"
#include "../simd/vec.h"

namespace partlens {
namespace PL_ISA {

void affine_forward(Device& device, const affine_forward_args& t, const AffineAttrs& a) {
  const float *x = f32(t.x), *scale = block_values(device, 0, t.scale, t.x),
              *shift = block_values(device, 1, t.shift, t.x);
  float* y = f32(t.y);
  const bool relu = a.relu;
  for_block_runs(device, t.x, [=](long begin, long end, long block) {
    Vec s[PANEL_VECTORS], b[PANEL_VECTORS];
    for (int v = 0; v < PANEL_VECTORS; v++) {
      s[v] = load(scale + block * BLOCK + v * VL);
      b[v] = load(shift + block * BLOCK + v * VL);
    }
    for (long i = begin; i < end; i += BLOCK) {
      for (int v = 0; v < PANEL_VECTORS; v++) {
        const Vec whole = s[v] * load(x + i + v * VL) + b[v];
        store(y + i + v * VL, relu ? positive(whole) : whole);
      }
    }
  });
}

void affine_backward(Device& device, const affine_backward_args& t, const NoAttrs&) {
  const float *g = f32(t.g), *y = f32(t.y), *scale = block_values(device, 0, t.scale, t.g);
  float* dx = f32(t.dx);
  for_block_runs(device, t.g, [=](long begin, long end, long block) {
    Vec s[PANEL_VECTORS];
    for (int v = 0; v < PANEL_VECTORS; v++) s[v] = load(scale + block * BLOCK + v * VL);
    for (long i = begin; i < end; i += BLOCK) {
      for (int v = 0; v < PANEL_VECTORS; v++) {
        const Vec whole = s[v] * load(g + i + v * VL);
        store(dx + i + v * VL, y ? (load(y + i + v * VL) > 0 ? whole : Vec{}) : whole);
      }
    }
  });
}

}  // namespace PL_ISA
}  // namespace partlens
