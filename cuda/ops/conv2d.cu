// conv2d: y = w * x + b, optionally followed by a ReLU; conv2d_backward_*.cu are its gradients.
//   in   x (N, C, H, W)  w (O, C, R, S)  b (O)           out  y (N, O, P, Q)
//   grid implicit GEMM on tensor cores (device/gemm.h): 128 x 128 tiles, 64 x 64 where those leave
//        multiprocessors idle; backward weight splits its K (the pixels) over blocks
//   cost 2 N P Q O C R S flop per pass
#include "conv2d.h"

namespace partlens {
namespace cuda {

void conv2d_forward(Device& device, const conv2d_forward_args& t, const Conv2dAttrs& a) {
  const Conv v = conv_of(t.x, t.w, t.y, a);
  const StoreBiasRelu store = {f32(t.y),  f32(t.b),    v.O,
                               v.outputs, a.relu != 0, a.round && device.rounds()};
  if (conv2d_forward_wgmma(device, v, f32(t.x), a.rounded, f32(t.w), store)) return;
  const int K = v.taps() * v.C;
  const InputPatches patches = {f32(t.x), v};
  const Dense<true> weights = {f32(t.w), K, 0, v.outputs, K};
  product(device, patches, weights, store, v.pixels_out(), v.O, K);
}

}  // namespace cuda
}  // namespace partlens
