// mean: y = mean of x; backward dx = g / F.
//   in   x (F)                              out  y ()
#include "../cuda_kernels.h"

namespace partlens {
namespace cuda {

struct Entry {
  const float* x;
  __device__ double operator()(long i) const { return x[i]; }
};
struct StoreMean {
  float* y;
  int F;
  __device__ void operator()(double sum) const {
    store4(y, make_float4((float)(sum / F), 0, 0, 0));
  }
};

void mean_forward(Device& device, const mean_forward_args& t, const NoAttrs&) {
  const int F = features(t.x);
  sum_all(device, F, Entry{f32(t.x)}, StoreMean{f32(t.y), F});
}

struct SpreadMean {
  const float* g;
  float* dx;
  int F;
  __device__ void operator()(long i) const { dx[i] = i < F ? *g / F : 0; }
};

void mean_backward(Device& device, const mean_backward_args& t, const NoAttrs&) {
  for_each(device, elements(t.dx), SpreadMean{f32(t.g), f32(t.dx), features(t.dx)});
}

}  // namespace cuda
}  // namespace partlens
