// mix_tracks: y = p x_interp + (1 - p) x_ordin, p = sigmoid(w_p).    [Zhang 2018]
//   in   x_interp, x_ordin (N, D, P, Q)  w_p ()        out  y (N, D, P, Q)  p ()
//   cost reads two maps, writes one; backward reads three, writes two; memory bound
#include "mix_tracks.h"

#include "../simd/chunks.h"

namespace partlens {
namespace PL_ISA {

void mix_tracks_forward(Device& device, const mix_tracks_forward_args& t, const NoAttrs&) {
  const double share = sigmoid(f32(t.w_p)[0]);
  const float p = (float)share, q = (float)(1 - share);
  const float *interp = f32(t.x_interp), *ordin = f32(t.x_ordin);
  float* y = f32(t.y);
  for_chunks(device, elements(t.y), [=](long begin, long end, int) {
    for (long i = begin; i < end; i++) y[i] = p * interp[i] + q * ordin[i];
  });
  write_scalar(t.p, share);
}

// dw_p = p (1 - p) sum g (x_interp - x_ordin)
void mix_tracks_backward(Device& device, const mix_tracks_backward_args& t, const NoAttrs&) {
  const double share = sigmoid(f32(t.w_p)[0]);
  const float p = (float)share, q = (float)(1 - share);
  const float *g = f32(t.g), *interp = f32(t.x_interp), *ordin = f32(t.x_ordin);
  float *d_interp = f32(t.dx_interp), *d_ordin = f32(t.dx_ordin);
  const double sum = sum_chunks(device, elements(t.g), [=](long begin, long end) {
    for (long i = begin; i < end; i++) {
      d_interp[i] = p * g[i];
      d_ordin[i] = q * g[i];
    }
    return lane_sum(begin, end, [=](long i) { return (double)g[i] * (interp[i] - ordin[i]); });
  });
  write_scalar(t.dw_p, share * (1 - share) * sum);
}

}  // namespace PL_ISA
}  // namespace partlens
