// clip: y = min(max(x, lo), hi); backward dx = g where lo < x < hi.
//   in   x of any layout                    out  y like x
//   cost reads and writes each element once; memory bound
#include "../cuda_kernels.h"

namespace partlens {
namespace cuda {

struct Clip {
  const float* x;
  float* y;
  float lo, hi;
  Axes axes;
  __device__ float operator()(float v) const {
    const float above = v < lo ? lo : v;
    return above > hi ? hi : above;
  }
  __device__ void operator()(long i) const {
    // padding stays 0 even where lo > 0 or hi < 0
    store4(y + i * 4, without_padding(map4(load4(x + i * 4), *this), axes, i));
  }
};

void clip_forward(Device& device, const clip_forward_args& t, const ClipAttrs& a) {
  for_each(device, elements(t.y) / 4, Clip{f32(t.x), f32(t.y), a.lo, a.hi, axes_of(t.y)});
}

struct ClipBackward {
  const float *g, *x;
  float* dx;
  float lo, hi;
  __device__ float operator()(float g, float x) const { return x > lo && x < hi ? g : 0; }
  __device__ void operator()(long i) const {
    store4(dx + i * 4, map4(load4(g + i * 4), load4(x + i * 4), *this));
  }
};

void clip_backward(Device& device, const clip_backward_args& t, const ClipAttrs& a) {
  for_each(device, elements(t.dx) / 4, ClipBackward{f32(t.g), f32(t.x), f32(t.dx), a.lo, a.hi});
}

}  // namespace cuda
}  // namespace partlens
