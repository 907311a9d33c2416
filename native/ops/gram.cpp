// gram: y[f,g] = sum over images and positions of x_f x_g; dx_f = sum_g (g[f,g] + g[g,f]) x_g.
//   in   x (N, D, H, W)  g (D, D, 1, 1)      out  y (D, D, 1, 1)  dx (N, D, H, W)
//   cost forward: the weight gradient of a 1x1 convolution of x with itself, of which one half is
//        the other; backward: one 1x1 convolution
#include "../cpu_kernels.h"

namespace partlens {
namespace PL_ISA {

static constexpr int TURNED_SLOT = 8;
static constexpr Conv2dAttrs POINTWISE = {1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0};

void gram_forward(Device& device, const gram_forward_args& t, const NoAttrs&) {
  conv2d_backward_weight(device, {t.x, t.x, t.y}, POINTWISE);
}

void gram_backward(Device& device, const gram_backward_args& t, const NoAttrs&) {
  const int blocks = blocks_of(t.g.dims[0]);
  const float* g = f32(t.g);
  float* sum = device.scratch(TURNED_SLOT, (size_t)blocks * blocks * BLOCK * BLOCK);
  parallel_for(device, blocks * blocks, [=](int cell, int) {
    const float* own = g + (long)cell * BLOCK * BLOCK;
    const float* turned = g + ((long)cell % blocks * blocks + cell / blocks) * BLOCK * BLOCK;
    float* to = sum + (long)cell * BLOCK * BLOCK;
    for (int c = 0; c < BLOCK; c++) {
      for (int o = 0; o < BLOCK; o++)
        to[c * BLOCK + o] = own[c * BLOCK + o] + turned[o * BLOCK + c];
    }
  });
  PlTensor both = t.g;
  both.data = sum;
  conv2d_forward(device, {t.x, both, {}, {}, t.dx}, POINTWISE);
}

}  // namespace PL_ISA
}  // namespace partlens
