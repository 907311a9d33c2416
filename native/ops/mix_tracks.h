// The share of the parts, for mix_tracks and norm_mix. [Zhang 2018]
#pragma once
#include "../cpu_kernels.h"

namespace partlens {
namespace PL_ISA {

static inline double sigmoid(double w) { return 1 / (1 + exp(-w)); }

static inline void write_scalar(const PlTensor& t, double value) {
  if (!t.data) return;
  memset(t.data, 0, sizeof(float) * BLOCK);
  f32(t)[0] = (float)value;
}

}  // namespace PL_ISA
}  // namespace partlens
