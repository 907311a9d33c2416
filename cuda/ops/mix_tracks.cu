// mix_tracks: y = p x_interp + (1 - p) x_ordin, p = sigmoid(w_p).    [Zhang 2018]
//   in   x_interp, x_ordin (N, D, P, Q)  w_p ()        out  y (N, D, P, Q)  p ()
//   cost reads two maps, writes one; backward reads three, writes two; memory bound
#include "mix_tracks.h"

namespace partlens {
namespace cuda {

struct MixTracks {
  const float *interp, *ordin, *w_p;
  float *y, *p;  // p: or nullptr
  __device__ void operator()(long i) const {
    const double share = sigmoid(*w_p);
    store4(y + i * 4, mix4(share, load4(interp + i * 4), load4(ordin + i * 4)));
    if (i == 0 && p) store4(p, make_float4((float)share, 0, 0, 0));
  }
};

void mix_tracks_forward(Device& device, const mix_tracks_forward_args& t, const NoAttrs&) {
  for_each(device, elements(t.y) / 4,
           MixTracks{f32(t.x_interp), f32(t.x_ordin), f32(t.w_p), f32(t.y), f32(t.p)});
}

// Writes both gradients; its value is what four elements add to dw_p.
struct MixTracksGradient {
  const float *g, *interp, *ordin, *w_p;
  float *d_interp, *d_ordin;
  __device__ double operator()(long i) const {
    const double share = sigmoid(*w_p);
    const float4 v = load4(g + i * 4);
    store4(d_interp + i * 4, scale4((float)share, v));
    store4(d_ordin + i * 4, scale4((float)(1 - share), v));
    return share_term(v, load4(interp + i * 4), load4(ordin + i * 4));
  }
};

void mix_tracks_backward(Device& device, const mix_tracks_backward_args& t, const NoAttrs&) {
  sum_all(device, elements(t.g) / 4,
          MixTracksGradient{f32(t.g), f32(t.x_interp), f32(t.x_ordin), f32(t.w_p), f32(t.dx_interp),
                            f32(t.dx_ordin)},
          StoreShareGradient{f32(t.w_p), f32(t.dw_p)});
}

}  // namespace cuda
}  // namespace partlens
