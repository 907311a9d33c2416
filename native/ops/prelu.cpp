// prelu: y = x, slope[c] x below 0; backward dx = g, slope[c] g where x is below 0.
//   in   x maps or rows, slope (C), of rows (F), or (1)     out  y like x
//   cost reads one or two, writes one element each; memory bound
#include "../cpu_kernels.h"
#include "../simd/channel_blocks.h"
#include "../simd/vec.h"

namespace partlens {
namespace PL_ISA {

// to = from, times the slope where x is below 0
static void below_zero(Device& device, const PlTensor& from_, const PlTensor& x_,
                       const PlTensor& slope_, const PlTensor& to_) {
  const float *from = f32(from_), *x = f32(x_), *slope = block_values(device, 0, slope_, x_);
  float* to = f32(to_);
  for_block_runs(device, x_, [=](long begin, long end, long block) {
    Vec s[PANEL_VECTORS];
    for (int v = 0; v < PANEL_VECTORS; v++) s[v] = load(slope + block * BLOCK + v * VL);
    for (long i = begin; i < end; i += BLOCK) {
      for (int v = 0; v < PANEL_VECTORS; v++) {
        const Vec whole = load(from + i + v * VL);
        store(to + i + v * VL, load(x + i + v * VL) < 0 ? s[v] * whole : whole);
      }
    }
  });
}

void prelu_forward(Device& device, const prelu_forward_args& t, const NoAttrs&) {
  below_zero(device, t.x, t.x, t.slope, t.y);
}

void prelu_backward(Device& device, const prelu_backward_args& t, const NoAttrs&) {
  below_zero(device, t.g, t.x, t.slope, t.dx);
}

}  // namespace PL_ISA
}  // namespace partlens
