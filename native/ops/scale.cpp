// scale: y = factor * x; its own gradient.
//   in   x any layout                       out  y like x
//   cost reads and writes each element once; memory bound
#include "../cpu_kernels.h"
#include "../simd/chunks.h"

namespace partlens {
namespace PL_ISA {

void scale_forward(Device& device, const scale_forward_args& t, const ScaleAttrs& a) {
  const float* x = f32(t.x);
  float* y = f32(t.y);
  const float factor = a.factor;
  for_chunks(device, elements(t.y), [=](long begin, long end, int) {
    for (long i = begin; i < end; i++) y[i] = factor * x[i];
  });
}

}  // namespace PL_ISA
}  // namespace partlens
