// conv2d_backward_data: dx = the gradients that reach each input pixel, times the turned weights.
//   in   g (N, O, P, Q)  w (O, C, R, S)     out  dx (N, C, H, W)
//   grid as conv2d.cu; the weights are turned to (C, R, S, O) first, a pass over a small tensor
//   cost 2 N H W C O R S flop (a stride leaves gaps that are multiplied as zeros)
#include "conv2d.h"

namespace partlens {
namespace cuda {

// turned[c][r][s][o] = w[o][r][s][c]; zero for the padding of both.
struct TurnWeights {
  const float* w;
  float* turned;
  Conv v;
  bool round;
  __device__ void operator()(long i) const {
    const int o = (int)(i % v.O), tap = (int)(i / v.O % v.taps()), c = (int)(i / v.O / v.taps());
    turned[i] = o < v.outputs ? round1(w[((long)o * v.taps() + tap) * v.C + c], round) : 0;
  }
};

void conv2d_backward_data(Device& device, const conv2d_backward_data_args& t,
                          const Conv2dAttrs& a) {
  const Conv v = conv_of(t.dx, t.w, t.g, a);
  const int K = v.taps() * v.O;
  const long count = (long)v.C * K;
  float* turned = device.scratch<float>(WEIGHT_SLOT, count);
  for_each(device, count, TurnWeights{f32(t.w), turned, v, device.rounds()});
  const Store store = {f32(t.dx), v.C};
  if (conv2d_backward_data_wgmma(device, v, f32(t.g), a.rounded, turned, store)) return;
  const GradientPatches patches = {f32(t.g), v};
  const Dense<true> weights = {turned, K, 0, v.C, K};
  product(device, patches, weights, store, v.pixels_in(), v.C, K);
}

}  // namespace cuda
}  // namespace partlens
