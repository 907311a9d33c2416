// Shares of competing filters, e / (sum of e + tau^t) with e = max(base, 1e-6)^t: for compete and
// part_gates, 16 filters at a time.
#pragma once
#include "../cpu_kernels.h"
#include "../simd/vec_math.h"

namespace partlens {
namespace PL_ISA {

constexpr float LEAST_BASE = 1e-6f;

// base^t; base >= 0
static inline Vec raised(Vec base, float t) {
  if (t != 4) return power(base, splat(t));
  const Vec square = base * base;
  return square * square;
}

// What bases are at least, by lane: 1e-6, and 0 where there is no filter. `to`: padded(D) floats.
static inline void least_bases(float* to, int D) {
  for (int d = 0; d < padded(D); d++) to[d] = d < D ? LEAST_BASE : 0;
}

// `length` floats of scratch memory for each worker.
struct ShareLines {
  float* memory;
  size_t length;
  ShareLines(Device& device, int slot, size_t length)
      : memory(device.scratch(slot, device.threads() * length)), length(length) {}
  float* of(int worker) const { return memory + worker * length; }
};

static inline float lane_total(const float* lanes) {
  float sum = 0;
  for (int c = 0; c < BLOCK; c++) sum += lanes[c];
  return sum;
}

}  // namespace PL_ISA
}  // namespace partlens
