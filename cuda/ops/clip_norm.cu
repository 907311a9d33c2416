// clip_norm: norm = sqrt(before^2 + |x|^2); y = grad min(1, most / norm).  [Pascanu et al. 2013]
//   in   x, grad of any layout, before, norm ()      out  norm (), y like grad
//   cost reads each element twice, writes it once; memory bound. The norm stays on the device.
#include "../cuda_kernels.h"

namespace partlens {
namespace cuda {

struct StoreNorm {
  const float* before;  // or nullptr: 0
  float* norm;
  __device__ void operator()(double own) const {
    const double known = before ? *before : 0;
    store4(norm, make_float4((float)sqrt(known * known + own), 0, 0, 0));
  }
};
struct ScaleToNorm {
  const float *grad, *norm;
  float* y;
  float most;
  __device__ void operator()(long i) const {
    const float factor = *norm > most ? most / *norm : 1;
    store4(y + i * 4, scale4(factor, load4(grad + i * 4)));
  }
};

void clip_norm_total(Device& device, const clip_norm_total_args& t, const NoAttrs&) {
  sum_all(device, elements(t.x) / 4, SquareSum{f32(t.x)}, StoreNorm{f32(t.before), f32(t.norm)});
}

void clip_norm_scale(Device& device, const clip_norm_scale_args& t, const ClipNormAttrs& a) {
  for_each(device, elements(t.y) / 4, ScaleToNorm{f32(t.grad), f32(t.norm), f32(t.y), a.most});
}

}  // namespace cuda
}  // namespace partlens
