// mean: y = mean of x; backward dx = g / F.
//   in   x (F)                              out  y ()
#include "../cpu_kernels.h"
#include "../simd/chunks.h"

namespace partlens {
namespace PL_ISA {

void mean_forward(Device& device, const mean_forward_args& t, const NoAttrs&) {
  const int F = features(t.x);
  const float* x = f32(t.x);
  double sum = 0;
  for (int f = 0; f < F; f++) sum += x[f];
  memset(f32(t.y), 0, sizeof(float) * BLOCK);
  f32(t.y)[0] = (float)(sum / F);
}

void mean_backward(Device& device, const mean_backward_args& t, const NoAttrs&) {
  const int F = features(t.dx);
  const float share = f32(t.g)[0] / F;
  for (int f = 0; f < padded(F); f++) f32(t.dx)[f] = f < F ? share : 0;
}

}  // namespace PL_ISA
}  // namespace partlens
