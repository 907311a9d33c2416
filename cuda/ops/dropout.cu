// dropout: keeps an element with probability 1 - rate, scaled by 1 / (1 - rate).
//   in   x rows or maps  seed (2) int32     out  y like x
//   cost one hash per element; the mask is that of the CPU backend, bit for bit
//   The mask is a hash of seed, salt and the element's row-major position: no layout changes it,
//   and the backward pass is the same kernel on the gradient.
#include "../cuda_kernels.h"

namespace partlens {
namespace cuda {

// 64-bit finaliser of splitmix64 [Steele, Lea, Flood 2014].
__device__ inline uint64_t mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

struct Dropout {
  const float* x;
  float* y;
  const int* seed;
  Axes axes;
  uint64_t salt, threshold;
  float gain;

  __device__ void operator()(long i) const {
    const int pitch = axes.pitch(), c = (int)(i % pitch);
    const long row = i / pitch;
    const uint64_t n = row / axes.cells, cell = row % axes.cells;
    const uint64_t key = mix(((uint64_t)(uint32_t)seed[0] << 32 | (uint32_t)seed[1]) + salt);
    const uint64_t position = (n * axes.channels + c) * axes.cells + cell;
    const bool keep = c < axes.channels && mix(key ^ (position * 0x9e3779b97f4a7c15u)) >= threshold;
    y[i] = keep ? gain * x[i] : 0;
  }
};

void dropout_forward(Device& device, const dropout_forward_args& t, const DropoutAttrs& a) {
  const double scaled = (double)a.rate * 18446744073709551616.0;
  for_each(device, elements(t.y),
           Dropout{f32(t.x), f32(t.y), i32(t.seed), axes_of(t.x), 0x9e3779b97f4a7c15u * a.salt,
                   (uint64_t)scaled, 1 / (1 - a.rate)});
}

}  // namespace cuda
}  // namespace partlens
