// add: y = a + b; add_scaled: y = a + s b with a number s on the device. With a gate: 0 where that
// is not above 0.
//   in   a, b, gate or none, of one layout  out  y like a
//   cost reads two or three, writes one element each; memory bound
#include "../cuda_kernels.h"

namespace partlens {
namespace cuda {

struct Add {
  const float *a, *b;
  const float *s, *gate;  // or nullptr: 1, open
  float* y;
  bool round;
  __device__ void operator()(long i) const {
    const float4 b4 = load4(b + i * 4);
    const float4 sum = add4(load4(a + i * 4), s ? scale4(*s, b4) : b4);
    store4(y + i * 4, round4(gate4(sum, gate, i * 4), round));
  }
};

void add_forward(Device& device, const add_forward_args& t, const NoAttrs&) {
  for_each(device, elements(t.y) / 4,
           Add{f32(t.a), f32(t.b), nullptr, f32(t.gate), f32(t.y), false});
}

void add_scaled(Device& device, const add_scaled_args& t, const RoundAttrs& a) {
  for_each(device, elements(t.y) / 4,
           Add{f32(t.a), f32(t.b), f32(t.s), f32(t.gate), f32(t.y), a.round && device.rounds()});
}

}  // namespace cuda
}  // namespace partlens
