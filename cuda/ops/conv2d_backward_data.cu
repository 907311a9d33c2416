// conv2d_backward_data: dx = the gradients that reach each input pixel, times the turned weights.
//   in   g (N, O, P, Q)  w (O, C, R, S)     out  dx (N, C, H, W)
//   grid as conv2d.cu; the weights are turned to (C, R, S, O) first, a pass over a small tensor
//   cost 2 N H W C O R S flop (a stride leaves gaps that are multiplied as zeros)
#include "../device/transpose.h"
#include "conv2d.h"

namespace partlens {
namespace cuda {

void conv2d_backward_data(Device& device, const conv2d_backward_data_args& t,
                          const Conv2dAttrs& a) {
  const Conv v = conv_of(t.dx, t.w, t.g, a);
  const int K = v.taps() * v.O;
  // turned[c][tap][o] = w[o][tap][c], zero for the padding of o; that of c is in w
  float* turned = device.scratch<float>(WEIGHT_SLOT, (long)v.C * K);
  const Transposition turn = {v.taps(), v.outputs, v.C, v.C, (long)v.taps() * v.C, v.O, K, v.O};
  transpose(device, f32(t.w), turned, turn, RoundTf32{device.rounds()});
  const Store store = {f32(t.dx), v.C};
  if (conv2d_backward_data_wgmma(device, v, f32(t.g), a.rounded, turned, store)) return;
  const GradientPatches patches = {f32(t.g), v};
  const Dense<true> weights = {turned, K, 0, v.C, K};
  product(device, patches, weights, store, v.pixels_in(), v.C, K);
}

}  // namespace cuda
}  // namespace partlens
