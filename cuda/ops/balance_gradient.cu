// balance_gradient: lambda = rho |g_rec| / |g_filter|, Frobenius norms; 0 where that is no number.
//   in   g_rec, g_filter (N, D, n, n)       out  lambda ()
//   cost reads both once; memory bound. The number stays on the device.
#include "../cuda_kernels.h"

namespace partlens {
namespace cuda {

struct StoreNumber {
  double* to;
  __device__ void operator()(double sum) const { *to = sum; }
};
struct StoreLambda {
  const double* rec;
  float* lambda;
  float rho;
  __device__ void operator()(double filter) const {
    const double ratio = filter > 0 ? rho * sqrt(*rec / filter) : 0;
    const float value = ratio <= 3.4e38 ? (float)ratio : 0;  // false for NaN and infinity
    store4(lambda, make_float4(value, 0, 0, 0));
  }
};

void balance_gradient(Device& device, const balance_gradient_args& t, const RhoAttrs& a) {
  double* rec = device.scratch<double>(STATISTICS_SLOT, 1);
  sum_all(device, elements(t.g_rec) / 4, SquareSum{f32(t.g_rec)}, StoreNumber{rec});
  sum_all(device, elements(t.g_filter) / 4, SquareSum{f32(t.g_filter)},
          StoreLambda{rec, f32(t.lambda), a.rho});
}

}  // namespace cuda
}  // namespace partlens
