// linear: y = x w^T + b, optionally followed by a ReLU, and its gradients.
//   in   x (N, F)  w (O, F)  b (O)                       out  y (N, O)
//   grid tiles of 32 images x 128 outputs, K split over blocks: w is read once, which is the cost
//   cost memory bound by the 4 O F bytes of w for batches below about 200 on an H100
#include "../cuda_kernels.h"
#include "../device/conv.h"

namespace partlens {
namespace cuda {

void linear_forward(Device& device, const linear_forward_args& t, const LinearAttrs& a) {
  const int N = row_count(t.x), F = (int)row_pitch(t.x), O = t.w.dims[0],
            pitch = (int)row_pitch(t.y);
  const Dense<true> x = {f32(t.x), F, 0, N, F}, w = {f32(t.w), F, 0, O, F};
  const StoreBiasRelu store = {f32(t.y), f32(t.b), pitch, O, a.relu != 0, false};
  gemm_at_precision<FlatTile>(device, x, w, store, N, pitch, F);
}

// dx = g w
void linear_backward_data(Device& device, const linear_backward_data_args& t, const NoAttrs&) {
  const int N = row_count(t.dx), F = (int)row_pitch(t.dx), O = t.w.dims[0];
  const int pitch = (int)row_pitch(t.g);
  const Dense<true> g = {f32(t.g), pitch, 0, N, pitch};
  const Dense<false> w = {f32(t.w), F, 0, O, F};
  gemm_at_precision<FlatTile>(device, g, w, Store{f32(t.dx), F}, N, F, pitch);
}

// dw = g^T x
void linear_backward_weight(Device& device, const linear_backward_weight_args& t, const NoAttrs&) {
  const int N = row_count(t.x), F = (int)row_pitch(t.x), O = t.dw.dims[0];
  const int pitch = (int)row_pitch(t.g);
  const Dense<false> g = {f32(t.g), pitch, 0, N, pitch}, x = {f32(t.x), F, 0, N, F};
  gemm_at_precision<RowMajorTile>(device, g, x, Store{f32(t.dw), F}, O, F, N);
}

void linear_backward_bias(Device& device, const linear_backward_bias_args& t, const NoAttrs&) {
  const int pitch = (int)row_pitch(t.g);
  sum_columns(device, row_count(t.g), pitch, MatrixEntry{f32(t.g), pitch},
              StoreColumnSum{f32(t.db)});
}

}  // namespace cuda
}  // namespace partlens
