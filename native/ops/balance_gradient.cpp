// balance_gradient: lambda = rho |g_rec| / |g_filter|, Frobenius norms; 0 where that is no number.
//   in   g_rec, g_filter (N, D, n, n)       out  lambda ()
//   cost reads both once; memory bound
#include "../cpu_kernels.h"
#include "../simd/chunks.h"

namespace partlens {
namespace PL_ISA {

void balance_gradient(Device& device, const balance_gradient_args& t, const RhoAttrs& a) {
  const long count = elements(t.g_rec);
  const double rec = square_sum(device, f32(t.g_rec), count);
  const double filter = square_sum(device, f32(t.g_filter), count);
  const double ratio = filter > 0 ? a.rho * sqrt(rec / filter) : 0;
  memset(f32(t.lambda), 0, sizeof(float) * BLOCK);
  f32(t.lambda)[0] = ratio <= 3.4e38 ? (float)ratio : 0;  // false for NaN and infinity
}

}  // namespace PL_ISA
}  // namespace partlens
