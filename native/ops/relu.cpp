// relu: y = max(x, 0); backward dx = g where y > 0.
//   in   x any layout                       out  y like x
//   cost reads and writes each element once; memory bound
#include "../cpu_kernels.h"
#include "../simd/chunks.h"

namespace partlens {
namespace PL_ISA {

void relu_forward(Device& device, const relu_forward_args& t, const NoAttrs&) {
  const float* x = f32(t.x);
  float* y = f32(t.y);
  for_chunks(device, elements(t.y), [=](long begin, long end, int) {
    for (long i = begin; i < end; i++) y[i] = x[i] < 0 ? 0 : x[i];
  });
}

void relu_backward(Device& device, const relu_backward_args& t, const RoundAttrs&) {
  const float* g = f32(t.g);
  const float* y = f32(t.y);
  float* dx = f32(t.dx);
  for_chunks(device, elements(t.dx), [=](long begin, long end, int) {
    for (long i = begin; i < end; i++) {
      const float slope = g[i];  // read whatever y is: no branch
      dx[i] = y[i] > 0 ? slope : 0;
    }
  });
}

}  // namespace PL_ISA
}  // namespace partlens
