// mean_square: loss = weight * mean((x - target)^2); dx = 2 g weight / count * (x - target).
//   in   x, target rows or maps             out  loss ()
//   cost reads both once; memory bound
//   Padding is zero on both sides and adds nothing.
#include "../cuda_kernels.h"

namespace partlens {
namespace cuda {

struct SquaredDifference {
  const float *x, *target;
  __device__ double operator()(float a, float b) const {
    const double d = (double)a - b;
    return d * d;
  }
  __device__ double operator()(long i) const {
    const float4 a = load4(x + i * 4), b = load4(target + i * 4);
    return (*this)(a.x, b.x) + (*this)(a.y, b.y) + (*this)(a.z, b.z) + (*this)(a.w, b.w);
  }
};
struct StoreMeanSquare {
  float* loss;
  double share;  // weight / count
  __device__ void operator()(double sum) const {
    store4(loss, make_float4((float)(share * sum), 0, 0, 0));
  }
};

void mean_square_forward(Device& device, const mean_square_forward_args& t, const WeightAttrs& a) {
  sum_all(device, elements(t.x) / 4, SquaredDifference{f32(t.x), f32(t.target)},
          StoreMeanSquare{f32(t.loss), (double)a.weight / axes_of(t.x).count()});
}

struct MeanSquareGradient {
  const float *g, *x, *target;
  float* dx;
  double share;
  __device__ void operator()(long i) const {
    const float gain = (float)(2 * share * *g);
    const float4 a = load4(x + i * 4), b = load4(target + i * 4);
    store4(dx + i * 4, make_float4(gain * (a.x - b.x), gain * (a.y - b.y), gain * (a.z - b.z),
                                   gain * (a.w - b.w)));
  }
};

void mean_square_backward(Device& device, const mean_square_backward_args& t,
                          const WeightAttrs& a) {
  for_each(device, elements(t.x) / 4,
           MeanSquareGradient{f32(t.g), f32(t.x), f32(t.target), f32(t.dx),
                              (double)a.weight / axes_of(t.x).count()});
}

}  // namespace cuda
}  // namespace partlens
