// norm_mix: both norm_layers and the mix_tracks that reads them; the normalised tracks are never
// written.
//   in   x_interp, x_ordin (N, D, P, Q)  alpha_interp, alpha_ordin (D)  w_p ()
//   out  y (N, D, P, Q)  p ()  factor_interp, factor_ordin (D)  alpha_interp_out, alpha_ordin_out
//   cost reads both tracks twice, writes y once; backward reads three maps, writes two
//   y = p f_interp x_interp + (1 - p) f_ordin x_ordin
#include "mix_tracks.h"
#include "norm_layer.h"

namespace partlens {
namespace cuda {

// Both tracks, normalised, and the share.
struct NormalTracks {
  const float *x_interp, *x_ordin, *factor_interp, *factor_ordin, *w_p;
  int pitch;

  __device__ double share() const { return sigmoid(*w_p); }
  __device__ float4 f_interp(long i) const { return load4(factor_interp + i * 4 % pitch); }
  __device__ float4 f_ordin(long i) const { return load4(factor_ordin + i * 4 % pitch); }
  __device__ float4 interp(long i) const { return times4(load4(x_interp + i * 4), f_interp(i)); }
  __device__ float4 ordin(long i) const { return times4(load4(x_ordin + i * 4), f_ordin(i)); }
};

template <class Args>
static NormalTracks tracks_of(const Args& t) {
  return {f32(t.x_interp),     f32(t.x_ordin), f32(t.factor_interp),
          f32(t.factor_ordin), f32(t.w_p),     axes_of(t.x_interp).pitch()};
}

struct NormMix {
  NormalTracks tracks;
  float *y, *p;
  __device__ void operator()(long i) const {
    store4(y + i * 4, mix4(tracks.share(), tracks.interp(i), tracks.ordin(i)));
    if (i == 0) store4(p, make_float4((float)tracks.share(), 0, 0, 0));
  }
};

void norm_mix_forward(Device& device, const norm_mix_forward_args& t, const NormLayerAttrs& a) {
  norm_factors(device, t.x_interp, t.alpha_interp, a, t.factor_interp, t.alpha_interp_out);
  norm_factors(device, t.x_ordin, t.alpha_ordin, a, t.factor_ordin, t.alpha_ordin_out);
  for_each(device, elements(t.y) / 4, NormMix{tracks_of(t), f32(t.y), f32(t.p)});
}

// Writes both gradients; its value is what four elements add to dw_p.
struct NormMixGradient {
  NormalTracks tracks;
  const float* g;
  float *d_interp, *d_ordin;
  __device__ double operator()(long i) const {
    const double share = tracks.share();
    const float4 v = load4(g + i * 4);
    store4(d_interp + i * 4, times4(scale4((float)share, v), tracks.f_interp(i)));
    store4(d_ordin + i * 4, times4(scale4((float)(1 - share), v), tracks.f_ordin(i)));
    return share_term(v, tracks.interp(i), tracks.ordin(i));
  }
};

void norm_mix_backward(Device& device, const norm_mix_backward_args& t, const NoAttrs&) {
  sum_all(device, elements(t.g) / 4,
          NormMixGradient{tracks_of(t), f32(t.g), f32(t.dx_interp), f32(t.dx_ordin)},
          StoreShareGradient{f32(t.w_p), f32(t.dw_p)});
}

}  // namespace cuda
}  // namespace partlens
