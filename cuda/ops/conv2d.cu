// conv2d: y = w * x + b, optionally followed by a ReLU, and its gradients.
//   in   x (N, C, H, W)  w (O, C, R, S)  b (O)           out  y (N, O, P, Q)
//   grid implicit GEMM on tensor cores (device/gemm.h): 128 x 128 tiles, 64 x 64 where those leave
//        multiprocessors idle; backward weight splits its K (the pixels) over blocks
//   cost 2 N P Q O C R S flop per pass
#include "../cuda_kernels.h"
#include "../device/conv.h"
#include "conv2d_wgmma.h"

namespace partlens {
namespace cuda {

static Conv conv_of(const PlTensor& x, const PlTensor& w, const PlTensor& y, const Conv2dAttrs& a) {
  Conv v = {};
  v.N = x.dims[0], v.C = padded(x.dims[1]), v.H = x.dims[2], v.W = x.dims[3];
  v.O = padded(y.dims[1]), v.P = y.dims[2], v.Q = y.dims[3];
  v.R = w.dims[2], v.S = w.dims[3];
  v.stride_h = a.stride_h, v.stride_w = a.stride_w;
  v.pad_top = a.pad_top, v.pad_left = a.pad_left;
  v.inputs = x.dims[1], v.outputs = y.dims[1];
  return v;
}

// Large tiles once they fill the device at least half.
static bool large(const Device& device, int M, int N) {
  const long tiles = (long)tiles_of(M, LargeTile::BM) * tiles_of(N, LargeTile::BN);
  return N > SmallTile::BN && tiles * 2 >= device.multiprocessors();
}

template <class A, class B, class Epilogue>
static void product(Device& device, A a, B b, Epilogue epilogue, int M, int N, int K) {
  if (large(device, M, N))
    gemm_at_precision<LargeTile>(device, a, b, epilogue, M, N, K);
  else
    gemm_at_precision<SmallTile>(device, a, b, epilogue, M, N, K);
}

void conv2d_forward(Device& device, const conv2d_forward_args& t, const Conv2dAttrs& a) {
  const Conv v = conv_of(t.x, t.w, t.y, a);
  const StoreBiasRelu store = {f32(t.y), f32(t.b), v.O, v.outputs, a.relu != 0};
  const InputPatches patches = {f32(t.x), v};
  const int K = v.taps() * v.C;
  if (wgmma_fits(device, v.C, v.pixels_out(), v.O)) {
    return wgmma_conv(device, patches, elements(t.x), f32(t.w), (long)v.outputs * K, v.outputs,
                      store, v.pixels_out(), v.O, K);
  }
  const Dense<true> weights = {f32(t.w), K, 0, v.outputs, K};
  product(device, patches, weights, store, v.pixels_out(), v.O, K);
}

// turned[c][r][s][o] = w[o][r][s][c]; zero for the padding of both.
struct TurnWeights {
  const float* w;
  float* turned;
  Conv v;
  __device__ void operator()(long i) const {
    const int o = (int)(i % v.O), tap = (int)(i / v.O % v.taps()), c = (int)(i / v.O / v.taps());
    turned[i] = o < v.outputs ? w[((long)o * v.taps() + tap) * v.C + c] : 0;
  }
};

void conv2d_backward_data(Device& device, const conv2d_backward_data_args& t,
                          const Conv2dAttrs& a) {
  const Conv v = conv_of(t.dx, t.w, t.g, a);
  const int K = v.taps() * v.O;
  const long count = (long)v.C * K;
  float* turned = device.scratch<float>(WEIGHT_SLOT, count);
  for_each(device, count, TurnWeights{f32(t.w), turned, v});
  const Store store = {f32(t.dx), v.C};
  const GradientPatches patches = {f32(t.g), v};
  if (wgmma_fits(device, v.O, v.pixels_in(), v.C)) {
    return wgmma_conv(device, patches, elements(t.g), turned, count, v.C, store, v.pixels_in(), v.C,
                      K);
  }
  const Dense<true> weights = {turned, K, 0, v.C, K};
  product(device, patches, weights, store, v.pixels_in(), v.C, K);
}

void conv2d_backward_weight(Device& device, const conv2d_backward_weight_args& t,
                            const Conv2dAttrs& a) {
  const Conv v = conv_of(t.x, t.dw, t.g, a);
  const int N = v.taps() * v.C, pixels = v.pixels_out();
  const Dense<false> gradient = {f32(t.g), v.O, 0, pixels, v.O};
  const PatchColumns patches = {f32(t.x), v};
  const Store store = {f32(t.dw), N};
  if (v.outputs > SmallTile::BM)
    gemm_at_precision<LargeTile>(device, gradient, patches, store, v.outputs, N, pixels);
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
