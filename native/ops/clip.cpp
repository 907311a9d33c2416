// clip: y = min(max(x, lo), hi); backward dx = g where lo < x < hi.
//   in   x rows or maps                     out  y like x
//   cost reads and writes each element once; memory bound
#include "../cpu_kernels.h"
#include "../simd/chunks.h"
#include "../simd/padding.h"

namespace partlens {
namespace PL_ISA {

void clip_forward(Device& device, const clip_forward_args& t, const ClipAttrs& a) {
  const float* x = f32(t.x);
  float* y = f32(t.y);
  const float lo = a.lo, hi = a.hi;
  for_chunks(device, elements(t.y), [=](long begin, long end, int) {
    for (long i = begin; i < end; i++) {
      const float above = x[i] < lo ? lo : x[i];
      y[i] = above > hi ? hi : above;
    }
  });
  if (lo > 0 || hi < 0) clear_padding(device, t.y);  // clip moves 0
}

void clip_backward(Device& device, const clip_backward_args& t, const ClipAttrs& a) {
  const float* g = f32(t.g);
  const float* x = f32(t.x);
  float* dx = f32(t.dx);
  const float lo = a.lo, hi = a.hi;
  for_chunks(device, elements(t.dx), [=](long begin, long end, int) {
    for (long i = begin; i < end; i++) dx[i] = x[i] > lo && x[i] < hi ? g[i] : 0;
  });
}

}  // namespace PL_ISA
}  // namespace partlens
