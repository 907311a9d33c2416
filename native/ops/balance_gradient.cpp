// balance_gradient: lambda = rho |g_rec| / |g_filter|, Frobenius norms; 0 where that is no number.
//   in   g_rec, g_filter (N, D, n, n)       out  lambda ()
//   cost reads both once; memory bound
#include "../cpu_kernels.h"
#include "../simd/chunks.h"

namespace partlens {
namespace PL_ISA {

static double square_sum(Device& device, const PlTensor& t) {
  const float* x = f32(t);
  return sum_chunks(device, elements(t), [=](long begin, long end) {
    return lane_sum(begin, end, [=](long i) { return (double)x[i] * x[i]; });
  });
}

void balance_gradient(Device& device, const balance_gradient_args& t, const RhoAttrs& a) {
  const double rec = square_sum(device, t.g_rec), filter = square_sum(device, t.g_filter);
  const double ratio = filter > 0 ? a.rho * sqrt(rec / filter) : 0;
  memset(f32(t.lambda), 0, sizeof(float) * BLOCK);
  f32(t.lambda)[0] = ratio <= 3.4e38 ? (float)ratio : 0;  // false for NaN and infinity
}

}  // namespace PL_ISA
}  // namespace partlens
