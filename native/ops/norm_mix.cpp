// norm_mix: both norm_layers and the mix_tracks that reads them; the normalised tracks are never
// written.
//   in   x_interp, x_ordin (N, D, P, Q)  alpha_interp, alpha_ordin (D)  w_p ()
//   out  y (N, D, P, Q)  p ()  factor_interp, factor_ordin (D)  alpha_interp_out, alpha_ordin_out
//   cost reads both tracks twice, writes y once; backward reads three maps, writes two
//   y = p f_interp x_interp + (1 - p) f_ordin x_ordin
#include "mix_tracks.h"
#include "norm_layer.h"

namespace partlens {
namespace PL_ISA {

void norm_mix_forward(Device& device, const norm_mix_forward_args& t, const NormLayerAttrs& a) {
  norm_factors(device, t.x_interp, t.alpha_interp, a, t.factor_interp, t.alpha_interp_out);
  norm_factors(device, t.x_ordin, t.alpha_ordin, a, t.factor_ordin, t.alpha_ordin_out);
  const double share = sigmoid(f32(t.w_p)[0]);
  const float p = (float)share, q = (float)(1 - share);
  const int blocks = blocks_of(t.y.dims[1]), cells = t.y.dims[2] * t.y.dims[3];
  const float *interp = f32(t.x_interp), *ordin = f32(t.x_ordin);
  const float *f_interp = f32(t.factor_interp), *f_ordin = f32(t.factor_ordin);
  float* y = f32(t.y);
  parallel_for(device, t.y.dims[0] * blocks, [=](int task, int) {
    const float *f = f_interp + task % blocks * BLOCK, *h = f_ordin + task % blocks * BLOCK;
    for (long at = (long)task * cells * BLOCK, end = at + cells * BLOCK; at < end; at += BLOCK) {
      for (int c = 0; c < BLOCK; c++) {
        y[at + c] = p * (interp[at + c] * f[c]) + q * (ordin[at + c] * h[c]);
      }
    }
  });
  write_scalar(t.p, share);
}

// dw_p = p (1 - p) sum g (f_interp x_interp - f_ordin x_ordin)
void norm_mix_backward(Device& device, const norm_mix_backward_args& t, const NoAttrs&) {
  const double share = sigmoid(f32(t.w_p)[0]);
  const float p = (float)share, q = (float)(1 - share);
  const int blocks = blocks_of(t.g.dims[1]), cells = t.g.dims[2] * t.g.dims[3];
  const int tasks = t.g.dims[0] * blocks;
  const float *g = f32(t.g), *interp = f32(t.x_interp), *ordin = f32(t.x_ordin);
  const float *f_interp = f32(t.factor_interp), *f_ordin = f32(t.factor_ordin);
  float *d_interp = f32(t.dx_interp), *d_ordin = f32(t.dx_ordin);
  double* partial = reinterpret_cast<double*>(device.scratch(0, 2 * (size_t)tasks));
  parallel_for(device, tasks, [=](int task, int) {
    const float *f = f_interp + task % blocks * BLOCK, *h = f_ordin + task % blocks * BLOCK;
    double lanes[BLOCK] = {};
    for (long at = (long)task * cells * BLOCK, end = at + cells * BLOCK; at < end; at += BLOCK) {
      for (int c = 0; c < BLOCK; c++) {
        const float v = g[at + c];
        d_interp[at + c] = p * v * f[c];
        d_ordin[at + c] = q * v * h[c];
        lanes[c] += (double)v * (interp[at + c] * f[c] - ordin[at + c] * h[c]);
      }
    }
    partial[task] = 0;
    for (double lane : lanes) partial[task] += lane;
  });
  double sum = 0;
  for (int task = 0; task < tasks; task++) sum += partial[task];
  write_scalar(t.dw_p, share * (1 - share) * sum);
}

}  // namespace PL_ISA
}  // namespace partlens
