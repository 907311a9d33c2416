// prelu: y = x, slope[c] x below 0; backward dx = g, slope[c] g where x is below 0.
//   in   x maps or rows, slope (C), of rows (F), or (1)     out  y like x
//   cost reads one or two, writes one element each; memory bound
#include "../cuda_kernels.h"
#include "../device/channel_values.h"

namespace partlens {
namespace cuda {

// to = from, times the slope where x is below 0
struct BelowZero {
  const float *from, *x;
  ChannelValues slope;
  float* to;
  __device__ void operator()(long i) const {
    const float4 f = load4(from + i * 4), v = load4(x + i * 4), s = slope.at(i);
    store4(to + i * 4, make_float4(v.x < 0 ? s.x * f.x : f.x, v.y < 0 ? s.y * f.y : f.y,
                                   v.z < 0 ? s.z * f.z : f.z, v.w < 0 ? s.w * f.w : f.w));
  }
};

void prelu_forward(Device& device, const prelu_forward_args& t, const NoAttrs&) {
  for_each(device, elements(t.y) / 4,
           BelowZero{f32(t.x), f32(t.x), ChannelValues(t.slope, t.x), f32(t.y)});
}

void prelu_backward(Device& device, const prelu_backward_args& t, const NoAttrs&) {
  for_each(device, elements(t.dx) / 4,
           BelowZero{f32(t.g), f32(t.x), ChannelValues(t.slope, t.x), f32(t.dx)});
}

}  // namespace cuda
}  // namespace partlens
