// add: y = a + b; add_scaled: y = a + s b with a scalar s.
//   in   a, b any layout, s ()              out  y like a
//   cost reads two, writes one element each; memory bound
#include "../cpu_kernels.h"
#include "../simd/chunks.h"

namespace partlens {
namespace PL_ISA {

void add_forward(Device& device, const add_forward_args& t, const NoAttrs&) {
  const float* a = f32(t.a);
  const float* b = f32(t.b);
  float* y = f32(t.y);
  for_chunks(device, elements(t.y), [=](long begin, long end, int) {
    for (long i = begin; i < end; i++) y[i] = a[i] + b[i];
  });
}

void add_scaled(Device& device, const add_scaled_args& t, const NoAttrs&) {
  const float* a = f32(t.a);
  const float* b = f32(t.b);
  const float s = f32(t.s)[0];
  float* y = f32(t.y);
  for_chunks(device, elements(t.y), [=](long begin, long end, int) {
    for (long i = begin; i < end; i++) y[i] = a[i] + s * b[i];
  });
}

}  // namespace PL_ISA
}  // namespace partlens
