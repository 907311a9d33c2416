// clip_norm: norm = sqrt(before^2 + |x|^2); y = grad min(1, most / norm).  [Pascanu et al. 2013]
//   in   x, grad of any layout, before, norm ()      out  norm (), y like grad
//   cost reads each element twice, writes it once; memory bound
#include "../cpu_kernels.h"
#include "../simd/chunks.h"

namespace partlens {
namespace PL_ISA {

void clip_norm_total(Device& device, const clip_norm_total_args& t, const NoAttrs&) {
  const double before = t.before.data ? f32(t.before)[0] : 0;
  const double own = square_sum(device, f32(t.x), elements(t.x));
  memset(f32(t.norm), 0, sizeof(float) * BLOCK);
  f32(t.norm)[0] = (float)sqrt(before * before + own);
}

void clip_norm_scale(Device& device, const clip_norm_scale_args& t, const ClipNormAttrs& a) {
  const float *grad = f32(t.grad), norm = f32(t.norm)[0];
  const float factor = norm > a.most ? a.most / norm : 1;
  float* y = f32(t.y);
  for_chunks(device, elements(t.y), [=](long begin, long end, int) {
    for (long i = begin; i < end; i++) y[i] = factor * grad[i];
  });
}

}  // namespace PL_ISA
}  // namespace partlens
