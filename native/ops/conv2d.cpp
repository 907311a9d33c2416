// conv2d: y[n,o,p,q] = b[o] + sum_crs x[n,c,p*stride+r*dilation-pad,q*stride+s*dilation-pad]
// w[o,c,r,s], optional ReLU; and its gradient with respect to x.
//   in   x (N, C, H, W)  w (O, C, R, S)  b (O) or none                  out  y (N, O, P, Q)
//   grid panels of 32 filters, times images, times strips of rows
//   tile 14 pixels by 32 filters in registers (AVX-512); taps are offsets into a padded copy, or
//        into x itself where nothing is padded
//   cost 2 C R S flop per output; compute bound for C >= 32
//   one core with AVX-512: 64->192 27x27 k5, N=8: 170 GFLOP/s, 1.05 times PyTorch 1.13 (oneDNN)
// 3x3 windows of stride 1 with enough channels take the Winograd variant.
#include "../cpu_kernels.h"
#include "../simd/conv_core.h"
#include "conv2d_winograd.h"

namespace partlens {
namespace PL_ISA {

// Panels [O/16][1][R * S][16 c][16 o] to [O/16][R][S * C][16 o]: a picture's few channels only.
static float* pack_picture_weights(Device& device, const PlTensor& t) {
  const int C = t.dims[1], taps = t.dims[2] * t.dims[3];
  const float* w = f32(t);
  float* packed = device.scratch(WEIGHT_SLOT, (size_t)padded(t.dims[0]) * taps * C);
  parallel_for(device, blocks_of(t.dims[0]) * taps, [=](int tap, int) {
    memcpy(packed + (long)tap * C * BLOCK, w + (long)tap * BLOCK * BLOCK,
           sizeof(float) * C * BLOCK);
  });
  return packed;
}

void conv2d_forward(Device& device, const conv2d_forward_args& t, const Conv2dAttrs& a) {
  const int N = t.x.dims[0], C = t.x.dims[1], O = t.y.dims[1], P = t.y.dims[2], Q = t.y.dims[3];
  const int R = t.w.dims[2], S = t.w.dims[3];
  const float* bias = t.b.data ? f32(t.b) : nullptr;
  const float* x = f32(t.x);
  float* y = f32(t.y);
  const WinogradShape tiled = {N, C, t.x.dims[2], t.x.dims[3], O, P, Q, a.pad_top, a.pad_left};
  if (winograd_pays(device, tiled, R, S, a)) {
    return winograd_convolve(device, tiled, x, f32(t.w), false, bias, a.relu, y,
                             Epilogue::of(t, a));
  }
  const int height = (P - 1) * a.stride_h + reach(R, a.dilation_h);
  const int width = (Q - 1) * a.stride_w + reach(S, a.dilation_w);
  Copy copy =
      copy_of(C, t.x.dims[2], t.x.dims[3], height, width, a.pad_top, a.pad_left, a.dilation_w == 1);
  copy.planes = t.x.layout == PL_PICTURE;
  const Window window = window_of(device, copy, C, R, S, a);
  const float* w = copy.lanes < BLOCK ? pack_picture_weights(device, t.w) : f32(t.w);
  Outputs out = {P, Q, 0, (long)Q * BLOCK, BLOCK, (long)P * Q * BLOCK, O};
  const long image = out.panels() * out.map;
  if (copy.in_place && R * S * a.stride_h * a.stride_w == 1 && copy.H == P && copy.W == Q) {
    out.P = 1;  // pointwise: one long row
    out.Q = P * Q;
  }
  const int round = round_of(copy, N);
  for (int n = 0; n < N; n += round) {
    const int count = N - n < round ? N - n : round;
    const float* images = copy_images(device, copy, x, n, count);
    multiply_windows(device, images, copy.image(), count, window, w, bias, a.relu, out,
                     y + n * image, Epilogue::of(t, a));
  }
}

// The taps of one phase, turned: [O/16][C/16][R][S][16 c][16 o] -> [C/16][O/16][taps][16 o][16 c].
static void turn_weights(Device& device, const PlTensor& t, const Phase& rows, const Phase& columns,
                         float* turned) {
  const int cb = blocks_of(t.dims[1]), ob = blocks_of(t.dims[0]), R = t.dims[2], S = t.dims[3];
  const float* w = f32(t);
  parallel_for(device, ob * cb, [=](int task, int) {
    const int o = task % ob, c = task / ob;
    float* to = turned + (long)task * rows.taps * columns.taps * BLOCK * BLOCK;
    for (int k = 0; k < rows.taps * columns.taps; k++) {
      const int r = rows.tap + k / columns.taps * rows.step;
      const int s = columns.tap + k % columns.taps * columns.step;
      transpose_block(w + ((((long)o * cb + c) * R + r) * S + s) * BLOCK * BLOCK,
                      to + k * BLOCK * BLOCK);
    }
  });
}

// Every stride-th pixel of dx sees the same taps: a convolution of g, stride 1, for each of the
// stride_h * stride_w phases.
static void backward_phases(Device& device, const conv2d_backward_data_args& t,
                            const Conv2dAttrs& a) {
  const int N = t.g.dims[0], O = t.g.dims[1], H = t.dx.dims[2], W = t.dx.dims[3];
  const int R = t.w.dims[2], S = t.w.dims[3];
  const Reach down = reach_of(H, a.stride_h, a.pad_top, R, a.dilation_h);
  const Reach across = reach_of(W, a.stride_w, a.pad_left, S, a.dilation_w);
  const Copy copy = copy_of(O, t.g.dims[2], t.g.dims[3], down.size, across.size, down.border,
                            across.border, false);
  float* turned = device.scratch(WEIGHT_SLOT, (size_t)elements(t.w));
  Window v = {};
  v.offsets = reinterpret_cast<int*>(device.scratch(OFFSET_SLOT, (size_t)copy.blocks * R * S));
  v.lanes = v.pixel = BLOCK;
  v.line = copy.line();
  v.tail_lanes = O % BLOCK;
  const int round = round_of(copy, N), panels = blocks_of(t.dx.dims[1]);
  const long map = (long)H * W * BLOCK;
  for (int n = 0; n < N; n += round) {
    const int count = N - n < round ? N - n : round;
    const float* g = copy_images(device, copy, f32(t.g), n, count);
    for (int phase = 0; phase < a.stride_h * a.stride_w; phase++) {
      const int y = phase / a.stride_w, x = phase % a.stride_w;
      if (y >= H || x >= W) continue;
      const Phase rows = phase_of(y, H, a.stride_h, a.pad_top, R, a.dilation_h);
      const Phase columns = phase_of(x, W, a.stride_w, a.pad_left, S, a.dilation_w);
      turn_weights(device, t.w, rows, columns, turned);
      const int taps = rows.taps * columns.taps;
      v.tail = v.tail_lanes ? taps : 0;
      v.full = copy.blocks * taps - v.tail;
      phase_offsets(copy, rows, columns, down.border, across.border, copy.blocks * taps, v.offsets);
      const Outputs out = {rows.count,
                           columns.count,
                           ((long)y * W + x) * BLOCK,
                           (long)a.stride_h * W * BLOCK,
                           (long)a.stride_w * BLOCK,
                           map,
                           t.dx.dims[1]};
      multiply_windows(device, g, copy.image(), count, v, turned, nullptr, false, out,
                       f32(t.dx) + (long)n * panels * map);
    }
  }
}

void conv2d_backward_data(Device& device, const conv2d_backward_data_args& t,
                          const Conv2dAttrs& a) {
  const WinogradShape tiled = {t.g.dims[0],  t.g.dims[1],   t.g.dims[2],
                               t.g.dims[3],  t.dx.dims[1],  t.dx.dims[2],
                               t.dx.dims[3], 2 - a.pad_top, 2 - a.pad_left};
  if (winograd_pays(device, tiled, t.w.dims[2], t.w.dims[3], a)) {
    return winograd_convolve(device, tiled, f32(t.g), f32(t.w), true, nullptr, false, f32(t.dx));
  }
  backward_phases(device, t, a);
}

}  // namespace PL_ISA
}  // namespace partlens
