// conv2d_backward_weight, conv2d_backward_bias: sums over all output pixels.
//   in   x (N, C, H, W)  g (N, O, P, Q)     out  dw (O, C, R, S)   db (O)
//   grid dw is a product with K = pixels, split over blocks and added in order: no atomics
//   cost 2 N P Q O C R S flop; db reads g once
#include "conv2d.h"

namespace partlens {
namespace cuda {

void conv2d_backward_weight(Device& device, const conv2d_backward_weight_args& t,
                            const Conv2dAttrs& a) {
  const Conv v = conv_of(t.x, t.dw, t.g, a);
  if (conv2d_backward_weight_wgmma(device, v, f32(t.x), f32(t.g), f32(t.dw))) return;
  const int N = v.taps() * v.C, pixels = v.pixels_out();
  const Dense<false> gradient = {f32(t.g), v.O, 0, pixels, v.O};
  const PatchColumns patches = {f32(t.x), v};
  const Store store = {f32(t.dw), N};
  if (v.outputs > SmallTile::BM)
    gemm_at_precision<RowMajorTile>(device, gradient, patches, store, v.outputs, N, pixels);
  else
    gemm_at_precision<SmallTile>(device, gradient, patches, store, v.outputs, N, pixels);
}

void conv2d_backward_bias(Device& device, const conv2d_backward_bias_args& t, const NoAttrs&) {
  const Axes g = axes_of(t.g);
  sum_columns(device, g.rows(), g.pitch(), MatrixEntry{f32(t.g), g.pitch()},
              StoreColumnSum{f32(t.db)});
}

}  // namespace cuda
}  // namespace partlens
