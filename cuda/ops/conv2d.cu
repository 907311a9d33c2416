// conv2d: y = w * x + b, optionally followed by a ReLU; conv2d_backward_*.cu are its gradients.
// Before a mask (`peaks`) it also leaves what its blocks know of the peaks of y, where K is whole.
//   in   x (N, C, H, W)  w (O, C, R, S)  b (O)           out  y (N, O, P, Q)
//   grid implicit GEMM on tensor cores (device/gemm.h): 128 x 128 tiles, 64 x 64 where those leave
//        multiprocessors idle; backward weight splits its K (the pixels) over blocks
//   cost 2 N P Q O C R S flop per pass
#include "conv2d.h"
#include "epilogue.h"

namespace partlens {
namespace cuda {

void conv2d_forward(Device& device, const conv2d_forward_args& t, const Conv2dAttrs& a) {
  const Conv v = conv_of(t.x, t.w, t.y, a);
  StoreMaps store = {{f32(t.y), f32(t.b), v.O, v.outputs, a.relu != 0, a.round && device.rounds()},
                     {}};
  if (a.peaks && v.P * v.Q >= PEAK_ROWS) store.peaks = peak_parts(device, v.N, v.O, v.P * v.Q);
  const int K = v.taps() * v.C;
  const InputPatches patches = {f32(t.x), v};
  const Dense<true> weights = {f32(t.w), K, 0, v.outputs, K};
  const bool whole = conv2d_forward_wgmma(device, v, f32(t.x), a.rounded, f32(t.w), store) ||
                     product(device, patches, weights, store, v.pixels_out(), v.O, K);
  if (whole && store.peaks.parts) device.leave_peaks(f32(t.y));
  end_convolution(device, t.y, t.residual, a.activation, a.alpha, a.beta);
}

}  // namespace cuda
}  // namespace partlens
