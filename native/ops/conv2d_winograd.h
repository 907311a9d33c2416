// The Winograd variant of conv2d, for windows of 3x3 with stride 1.
#pragma once
#include "../cpu_kernels.h"
#include "epilogue.h"

namespace partlens {
namespace PL_ISA {

// Sizes of a convolution of maps (images, K, H, W) to (images, N, P, Q) and where its windows
// start.
struct WinogradShape {
  int images;
  int K, H, W;
  int N, P, Q;
  int top, left;
};

// Whether the device's accuracy allows it and it is faster than the direct kernels: enough channels
// and enough tiles to pay for the transforms of maps and filters.
bool winograd_pays(const Device& device, const WinogradShape& shape, int R, int S,
                   const Conv2dAttrs& attrs);

// y = conv(x, w) + bias, ReLU. With `turn`, w is [K/16][N/16][3][3][16 k][16 n] as the forward pass
// has it, and the convolution is its transpose.
void winograd_convolve(Device& device, const WinogradShape& shape, const float* x, const float* w,
                       bool turn, const float* bias, bool relu, float* y,
                       const Epilogue& epilogue = {});

// dw from x (images, K, H, W) and g (images, N, P, Q).
void winograd_backward_weight(Device& device, const WinogradShape& shape, const float* x,
                              const float* g, float* dw);

}  // namespace PL_ISA
}  // namespace partlens
