// mean_square: loss = weight * mean((x - target)^2); dx = 2 g weight / count * (x - target).
//   in   x, target rows or maps             out  loss ()
//   cost reads both once; memory bound
//   Padding lanes are zero on both sides and add nothing.
#include "../cpu_kernels.h"
#include "../simd/chunks.h"

namespace partlens {
namespace PL_ISA {

static long logical_count(const PlTensor& t) {
  long count = 1;
  for (int i = 0; i < t.rank; i++) count *= t.dims[i];
  return count;
}

void mean_square_forward(Device& device, const mean_square_forward_args& t, const WeightAttrs& a) {
  const float *x = f32(t.x), *target = f32(t.target);
  const double sum = sum_chunks(device, elements(t.x), [=](long begin, long end) {
    return lane_sum(begin, end, [=](long i) {
      const double d = (double)x[i] - target[i];
      return d * d;
    });
  });
  memset(f32(t.loss), 0, sizeof(float) * BLOCK);
  f32(t.loss)[0] = (float)(a.weight * sum / logical_count(t.x));
}

void mean_square_backward(Device& device, const mean_square_backward_args& t,
                          const WeightAttrs& a) {
  const float *x = f32(t.x), *target = f32(t.target);
  const float gain = (float)(2.0 * f32(t.g)[0] * a.weight / logical_count(t.x));
  float* dx = f32(t.dx);
  for_chunks(device, elements(t.x), [=](long begin, long end, int) {
    for (long i = begin; i < end; i++) dx[i] = gain * (x[i] - target[i]);
  });
}

}  // namespace PL_ISA
}  // namespace partlens
