// expand_depthwise: a 1x1 convolution and the depthwise convolution that alone reads it.
//   in   x (N, C, H, W)  w_expand (O, C, 1, 1)  b_expand (O) or none
//        w (O, 1, R, S)  b (O) or none                                  out  y (N, O, P, Q)
//   grid that of conv2d_forward, then that of depthwise_conv2d_forward; the maps between them lie
//   in
//        scratch memory
//   cost that of both calls
#include "../cuda_kernels.h"

namespace partlens {
namespace cuda {

void expand_depthwise_forward(Device& device, const expand_depthwise_forward_args& t,
                              const ExpandDepthwiseAttrs& a) {
  PlTensor expanded = t.x;
  expanded.dims[1] = t.y.dims[1];
  expanded.data = device.scratch<float>(EXPANDED_SLOT, elements(expanded));
  Conv2dAttrs first = {};
  first.stride_h = first.stride_w = first.dilation_h = first.dilation_w = 1;
  first.relu = a.expand_relu;
  first.activation = a.expand_activation, first.alpha = a.expand_alpha, first.beta = a.expand_beta;
  conv2d_forward(device, {t.x, t.w_expand, t.b_expand, PlTensor{}, expanded}, first);
  const DepthwiseConv2dAttrs second = {a.stride_h,   a.stride_w,   a.pad_top, a.pad_left,
                                       a.dilation_h, a.dilation_w, a.relu,    a.activation,
                                       a.alpha,      a.beta};
  depthwise_conv2d_forward(device, {expanded, t.w, t.b, PlTensor{}, t.y}, second);
}

}  // namespace cuda
}  // namespace partlens
