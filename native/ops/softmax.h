// One row of softmax, shared by softmax and softmax_cross_entropy.
#pragma once
#include <math.h>

#include "row_lanes.h"

namespace partlens {
namespace PL_ISA {

// out = softmax(in), 0 in the other lanes; returns log sum exp(in).
static inline double softmax_row(const RowLanes& lanes, const float* in, float* out, int stride) {
  float top = -INFINITY;
  lanes.each([&](int i) { top = in[i] > top ? in[i] : top; });
  memset(out, 0, sizeof(float) * stride);
  double sum = 0;
  lanes.each([&](int i) { sum += out[i] = expf(in[i] - top); });
  const float share = (float)(1 / sum);
  for (int i = 0; i < stride; i++) out[i] *= share;
  return log(sum) + top;
}

}  // namespace PL_ISA
}  // namespace partlens
