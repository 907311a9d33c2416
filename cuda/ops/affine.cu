// affine: y = scale[c] x + shift[c], then ReLU where asked for; backward dx = scale[c] g, 0 where
// that ReLU is closed.
//   in   x maps or rows, scale, shift (C), of rows (F)      out  y like x
//   cost reads one or two, writes one element each; memory bound
#include "../cuda_kernels.h"
#include "../device/channel_values.h"

namespace partlens {
namespace cuda {

struct Affine {
  const float* x;
  ChannelValues scale, shift;
  float* y;
  Axes axes;
  bool relu;
  __device__ float operator()(float v) const { return relu && v < 0 ? 0 : v; }
  __device__ void operator()(long i) const {
    const float4 whole = add4(times4(scale.at(i), load4(x + i * 4)), shift.at(i));
    store4(y + i * 4, without_padding(map4(whole, *this), axes, i));  // one shift for all moves 0
  }
};

void affine_forward(Device& device, const affine_forward_args& t, const AffineAttrs& a) {
  for_each(device, elements(t.y) / 4,
           Affine{f32(t.x), ChannelValues(t.scale, t.x), ChannelValues(t.shift, t.x), f32(t.y),
                  axes_of(t.y), a.relu != 0});
}

struct AffineBackward {
  const float* g;
  ChannelValues scale;
  const float* y;  // or nullptr: no ReLU
  float* dx;
  __device__ void operator()(long i) const {
    store4(dx + i * 4, gate4(times4(scale.at(i), load4(g + i * 4)), y, i * 4));
  }
};

void affine_backward(Device& device, const affine_backward_args& t, const NoAttrs&) {
  for_each(device, elements(t.dx) / 4,
           AffineBackward{f32(t.g), ChannelValues(t.scale, t.g), f32(t.y), f32(t.dx)});
}

}  // namespace cuda
}  // namespace partlens
