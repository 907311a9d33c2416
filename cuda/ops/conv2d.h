// What the files of conv2d share: the letters of a convolution, and the choice of a tile.
#pragma once
#include "../cuda_kernels.h"
#include "../device/conv.h"

namespace partlens {
namespace cuda {

inline Conv conv_of(const PlTensor& x, const PlTensor& w, const PlTensor& y, const Conv2dAttrs& a) {
  Conv v = {};
  v.N = x.dims[0], v.C = padded(x.dims[1]), v.H = x.dims[2], v.W = x.dims[3];
  v.O = padded(y.dims[1]), v.P = y.dims[2], v.Q = y.dims[3];
  v.R = w.dims[2], v.S = w.dims[3];
  v.stride_h = a.stride_h, v.stride_w = a.stride_w;
  v.pad_top = a.pad_top, v.pad_left = a.pad_left;
  v.dilation_h = a.dilation_h, v.dilation_w = a.dilation_w;
  v.inputs = x.dims[1], v.outputs = y.dims[1];
  v.by_C = divisor(v.C), v.by_O = divisor(v.O), v.by_S = divisor(v.S);
  v.by_Q = divisor(v.Q), v.by_PQ = divisor(v.P * v.Q);
  return v;
}

// Large tiles once they fill the device at least half.
inline bool large(const Device& device, int M, int N) {
  const long tiles = (long)tiles_of(M, LargeTile::BM) * tiles_of(N, LargeTile::BN);
  return N > SmallTile::BN && tiles * 2 >= device.multiprocessors();
}

// Returns whether K was whole, as gemm() does.
template <class A, class B, class Epilogue>
bool product(Device& device, A a, B b, Epilogue epilogue, int M, int N, int K) {
  return large(device, M, N) ? gemm_at_precision<LargeTile>(device, a, b, epilogue, M, N, K)
                             : gemm_at_precision<SmallTile>(device, a, b, epilogue, M, N, K);
}

// The products on Hopper's warpgroup instructions (conv2d_wgmma.cu), or false where these do not
// fit. `rounded`: x, g is stored as tf32 already; `turned` always is.
bool conv2d_forward_wgmma(Device& device, const Conv& v, const float* x, bool rounded,
                          const float* w, const StoreMaps& store);
bool conv2d_backward_data_wgmma(Device& device, const Conv& v, const float* g, bool rounded,
                                const float* turned, const Store& store);
bool conv2d_backward_weight_wgmma(Device& device, const Conv& v, const float* x, const float* g,
                                  float* dw);

}  // namespace cuda
}  // namespace partlens
