// scale: y = factor * x.
//   in   x of any layout                    out  y like x
//   cost reads and writes each element once; memory bound
#include "../cuda_kernels.h"

namespace partlens {
namespace cuda {

struct Scale {
  const float* x;
  float* y;
  float factor;
  bool round;
  __device__ void operator()(long i) const {
    store4(y + i * 4, round4(scale4(factor, load4(x + i * 4)), round));
  }
};

void scale_forward(Device& device, const scale_forward_args& t, const ScaleAttrs& a) {
  for_each(device, elements(t.y) / 4,
           Scale{f32(t.x), f32(t.y), a.factor, a.round && device.rounds()});
}

}  // namespace cuda
}  // namespace partlens
