// dropout: keeps an element with probability 1 - rate, scaled by 1 / (1 - rate).
//   in   x rows or maps  seed (2) int32     out  y like x
//   cost one hash per element
//   The mask is a hash of seed, salt and the element's row-major position: no layout changes it,
//   and the backward pass is the same kernel on the gradient.
#include "../cpu_kernels.h"
#include "../simd/chunks.h"

namespace partlens {
namespace PL_ISA {

// 64-bit finaliser of splitmix64 [Steele, Lea, Flood 2014].
static inline uint64_t mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

void dropout_forward(Device& device, const dropout_forward_args& t, const DropoutAttrs& a) {
  const bool maps = t.x.layout == PL_MAPS || t.x.chw[0] > 0;
  const int* shape = t.x.layout == PL_MAPS ? t.x.dims + 1 : t.x.chw;
  const int C = maps ? shape[0] : features(t.x), HW = maps ? shape[1] * shape[2] : 1;
  const int N = t.x.layout == PL_MAPS ? t.x.dims[0] : row_count(t.x);
  const float* x = f32(t.x);
  float* y = f32(t.y);
  const int* seed = i32(t.seed);
  const uint64_t key =
      mix(((uint64_t)(uint32_t)seed[0] << 32 | (uint32_t)seed[1]) + 0x9e3779b97f4a7c15u * a.salt);
  const double scaled = (double)a.rate * 18446744073709551616.0;
  const uint64_t threshold = (uint64_t)scaled;
  const float gain = 1 / (1 - a.rate);
  const int blocks = blocks_of(C);
  parallel_for(device, N * blocks, [=](int task, int) {
    const int n = task / blocks, block = task % blocks;
    const long at = (long)task * HW * BLOCK;
    for (int i = 0; i < HW; i++) {
      for (int lane = 0; lane < BLOCK; lane++) {
        const int c = block * BLOCK + lane;
        const uint64_t position = ((uint64_t)n * C + c) * HW + i;
        const bool keep = c < C && mix(key ^ (position * 0x9e3779b97f4a7c15u)) >= threshold;
        const float kept = gain * x[at + i * BLOCK + lane];  // read always, as in lrn.cpp
        y[at + i * BLOCK + lane] = keep ? kept : 0;
      }
    }
  });
}

}  // namespace PL_ISA
}  // namespace partlens
