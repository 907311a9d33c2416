// conv2d: y[n,o,p,q] = b[o] + sum_crs x[n,c,p*stride+r-pad,q*stride+s-pad] w[o,c,r,s], optional
// ReLU.
//   in   x (N, C, H, W)  w (O, C, R, S)  b (O) or none                  out  y (N, O, P, Q)
//   grid panels of 32 filters, times images, times strips of rows
//   tile 14 pixels by 32 filters in registers (AVX-512); taps are offsets into a padded copy
//   cost 2 C R S flop per output; compute bound for C >= 32
#include "../cpu_kernels.h"
#include "../simd/conv_core.h"
#include "conv2d_winograd.h"

namespace partlens {
namespace PL_ISA {

void conv2d_forward(Device& device, const conv2d_forward_args& t, const Conv2dAttrs& a) {
  const int R = t.w.dims[2], S = t.w.dims[3];
  ConvShape s = {t.x.dims[0], t.x.dims[1], t.x.dims[2], t.x.dims[3], t.y.dims[1],
                 t.y.dims[2], t.y.dims[3], R,           S,           a.stride_h};
  const float* bias = t.b.data ? f32(t.b) : nullptr;
  const WinogradShape tiled = {s.images, s.K, s.H, s.W, s.N, s.P, s.Q, a.pad_top, a.pad_left};
  if (winograd_pays(tiled, R, S, a.stride_h, a.stride_w)) {
    return winograd_convolve(device, tiled, f32(t.x), f32(t.w), false, bias, a.relu, f32(t.y));
  }
  const bool pointwise = R * S == 1 && a.stride_h * a.stride_w == 1 && !a.pad_top && !a.pad_left &&
                         s.H == s.P && s.W == s.Q;
  if (pointwise) {  // one long row
    s.W = s.Q = s.H * s.W;
    s.H = s.P = 1;
  }
  const Padded p = padded_for((s.P - 1) * a.stride_h + R, (s.Q - 1) * a.stride_w + S, a.stride_w,
                              a.pad_top, a.pad_left, 1);
  convolve(device, s, p, f32(t.x), f32(t.w), bias, a.relu, f32(t.y));
}

// [O/16][C/16][R][S][16c][16o] -> [C/16][O/16][R][S][16o][16c], taps rotated by half a turn.
static float* turn_weights(Device& device, const PlTensor& t) {
  const int ob = blocks_of(t.dims[0]), cb = blocks_of(t.dims[1]), taps = t.dims[2] * t.dims[3];
  const float* w = f32(t);
  float* turned = device.scratch(WEIGHT_SLOT, (size_t)elements(t));
  parallel_for(device, ob * cb, [=](int task, int) {
    const int o = task / cb, c = task % cb;
    for (int tap = 0; tap < taps; tap++) {
      transpose_block(w + ((long)task * taps + tap) * BLOCK * BLOCK,
                      turned + (((long)c * ob + o) * taps + taps - 1 - tap) * BLOCK * BLOCK);
    }
  });
  return turned;
}

// dx = g, spread out by the stride, convolved with the turned weights.
void conv2d_backward_data(Device& device, const conv2d_backward_data_args& t,
                          const Conv2dAttrs& a) {
  const int R = t.w.dims[2], S = t.w.dims[3];
  const ConvShape s = {t.g.dims[0],  t.g.dims[1],  t.g.dims[2], t.g.dims[3], t.dx.dims[1],
                       t.dx.dims[2], t.dx.dims[3], R,           S,           1};
  const WinogradShape tiled = {s.images, s.K, s.H,           s.W,           s.N,
                               s.P,      s.Q, 2 - a.pad_top, 2 - a.pad_left};
  if (winograd_pays(tiled, R, S, a.stride_h, a.stride_w)) {
    return winograd_convolve(device, tiled, f32(t.g), f32(t.w), true, nullptr, false, f32(t.dx));
  }
  Padded p = padded_for(s.P + R - 1, s.Q + S - 1, 1, R - 1 - a.pad_top, S - 1 - a.pad_left, 1);
  // Both axes may have strides of their own; the copy spreads rows and columns alike, so an axis
  // with a smaller stride is spread by hand.
  const float* g = f32(t.g);
  ConvShape spread = s;
  if (a.stride_h != a.stride_w) {
    const int H = (s.H - 1) * a.stride_h + 1, W = (s.W - 1) * a.stride_w + 1;
    const long map = (long)H * W * BLOCK;
    float* wide = device.scratch(GRADIENT_SLOT, (size_t)(s.images * blocks_of(s.K) * map));
    parallel_for(device, s.images * blocks_of(s.K), [=](int i, int) {
      memset(wide + i * map, 0, sizeof(float) * map);
      for (int y = 0; y < s.H; y++) {
        for (int x = 0; x < s.W; x++) {
          memcpy(wide + i * map + ((long)y * a.stride_h * W + x * a.stride_w) * BLOCK,
                 g + (((long)i * s.H + y) * s.W + x) * BLOCK, sizeof(float) * BLOCK);
        }
      }
    });
    g = wide;
    spread.H = H;
    spread.W = W;
  } else {
    p.dilation = a.stride_h;
  }
  const float* turned = turn_weights(device, t.w);
  convolve(device, spread, p, g, turned, nullptr, false, f32(t.dx));
}

// dw[o,c,r,s] = sum_npq g[n,o,p,q] x[n,c,p*stride+r-pad,q*stride+s-pad]: outer products of the 16
// channels of a pixel with 32 gradients, summed over images in order.
void conv2d_backward_weight(Device& device, const conv2d_backward_weight_args& t,
                            const Conv2dAttrs& a) {
  const int N = t.x.dims[0], C = t.x.dims[1], H = t.x.dims[2], W = t.x.dims[3];
  const int P = t.g.dims[2], Q = t.g.dims[3], R = t.dw.dims[2], S = t.dw.dims[3], taps = R * S;
  const int cb = blocks_of(C), panels = blocks_of(t.g.dims[1]);
  const WinogradShape tiled = {N, C, H, W, t.g.dims[1], P, Q, a.pad_top, a.pad_left};
  if (winograd_pays(tiled, R, S, a.stride_h, a.stride_w)) {
    return winograd_backward_weight(device, tiled, f32(t.x), f32(t.g), f32(t.dw));
  }
  const Padded p = padded_for((P - 1) * a.stride_h + R, (Q - 1) * a.stride_w + S, a.stride_w,
                              a.pad_top, a.pad_left, 1);
  const long image = cb * p.map_size(), out_map = (long)P * Q * BLOCK;
  long round = COPY_FLOATS / image;
  round = round < 1 ? 1 : round > N ? N : round;
  float* copy = device.scratch(PAD_SLOT, round * image);
  const float *x = f32(t.x), *g = f32(t.g);
  float* dw = f32(t.dw);
  const int groups = (panels + TILE_PANELS - 1) / TILE_PANELS;
  const int parts = groups * cb >= 16 ? 1 : taps;  // few channels: one task per tap
  const int stride_h = a.stride_h;
  for (int first = 0; first < N; first += (int)round) {
    const int count = N - first < round ? N - first : (int)round;
    parallel_for(device, count * cb, [=](int i, int) {
      pad_block(x + ((long)first * cb + i) * H * W * BLOCK, H, W, p, copy + i * p.map_size());
    });
    parallel_for(device, groups * cb * parts, [=](int task, int) {
      const int panel = task / (cb * parts) * TILE_PANELS, c = task / parts % cb;
      const int part = task % parts;
      const int lanes = C - c * BLOCK < BLOCK ? C - c * BLOCK : BLOCK;
      const int kept = (lanes + OUTER_ROWS - 1) / OUTER_ROWS * OUTER_ROWS;
      for (int n = 0; n < count; n++) {
        const float* maps = copy + n * image + c * p.map_size();
        const float* d = g + ((long)(first + n) * panels + panel) * out_map;
        for (int tap = part; tap < taps; tap += parts) {
          float* cell = dw + (((long)panel * cb + c) * taps + tap) * BLOCK * BLOCK;
          const long g_panel = (long)cb * taps * BLOCK * BLOCK;
          const bool wide = panels - panel >= TILE_PANELS && TILE_PANELS > 1;
          if (first + n == 0 && kept < BLOCK) {  // the rows that no channel writes
            memset(cell + kept * BLOCK, 0, sizeof(float) * (BLOCK - kept) * BLOCK);
            if (wide)
              memset(cell + g_panel + kept * BLOCK, 0, sizeof(float) * (BLOCK - kept) * BLOCK);
          }
          const Outer outer = {
              maps + p.offset(tap / S, tap % S), d, out_map, cell, g_panel, first + n > 0};
          const long x_run = (long)stride_h * p.width * BLOCK, d_run = (long)Q * BLOCK;
          if (wide)
            outer_kernel<TILE_PANELS>(outer, kept, P, Q, x_run, d_run);
          else
            outer_kernel<1>(outer, kept, P, Q, x_run, d_run);
        }
      }
    });
  }
}

void conv2d_backward_bias(Device& device, const conv2d_backward_bias_args& t, const NoAttrs&) {
  const int N = t.g.dims[0], blocks = blocks_of(t.g.dims[1]), cells = t.g.dims[2] * t.g.dims[3];
  const float* g = f32(t.g);
  float* db = f32(t.db);
  parallel_for(device, blocks, [=](int block, int) {
    double sum[BLOCK] = {};
    for (int n = 0; n < N; n++) {
      const float* map = g + ((long)n * blocks + block) * cells * BLOCK;
      float image[BLOCK] = {};
      for (int i = 0; i < cells; i++) {
        for (int o = 0; o < BLOCK; o++) image[o] += map[i * BLOCK + o];
      }
      for (int o = 0; o < BLOCK; o++) sum[o] += image[o];
    }
    for (int o = 0; o < BLOCK; o++) db[block * BLOCK + o] = (float)sum[o];
  });
}

}  // namespace PL_ISA
}  // namespace partlens
