// conv2d, gradients with respect to w and b:
//   dw[o,c,r,s] = sum_npq g[n,o,p,q] x[n,c,p*stride+r*dilation-pad,q*stride+s*dilation-pad]
//   db[o] = sum_npq g
//   in   x (N, C, H, W)  g (N, O, P, Q)                          out  dw (O, C, R, S)  db (O)
//   grid 32 filters, times blocks of channels, times stretches of the pixels of all images where
//        there are few of both
//   tile outer products of 8 channels and 32 filters in registers (AVX-512), summed over the pixels
//        of a strip that stays in L1, strips in order
//   cost 2 C R S flop per pixel and filter
//   one core with AVX-512: 64->192 27x27 k5, N=8: 165 GFLOP/s; 3->64 224x224 k3: 55 GFLOP/s
// 3x3 windows of stride 1 with enough channels take the Winograd variant.
#include "../cpu_kernels.h"
#include "../simd/chunks.h"
#include "../simd/conv_core.h"
#include "conv2d_winograd.h"

namespace partlens {
namespace PL_ISA {

constexpr int STRIP_PIXELS = 192;  // of g, 32 filters: 24 KB
constexpr int WANTED_TASKS = 48;

// Sums of outer products in cells [panels][blocks of the window][rows][16].
struct Sums {
  int panels, blocks;
  int rows;  // of a cell
  long cell() const { return (long)rows * BLOCK; }
  long panel() const { return blocks * cell(); }
  long floats() const { return panels * panel(); }
};

struct Pixels {
  int images, P, Q;
  int strip;  // rows of one strip
  int strips() const { return (P + strip - 1) / strip; }
};

// Adds the strips first..last-1 (of all images of a round) to the cells first_block..last_block-1.
static void add_strips(const Window& v, const Sums& s, const Pixels& g, const float* x, long image,
                       const float* maps, int panel, int first_block, int last_block, int first,
                       int last, bool add, float* sums) {
  const int wide = s.panels - panel < TILE_PANELS ? s.panels - panel : TILE_PANELS;
  const long map = (long)g.P * g.Q * BLOCK;
  Outer outer;
  outer.x_step = v.pixel;
  outer.x_run = v.line;
  outer.d_run = (long)g.Q * BLOCK;
  outer.d_panel = map;
  outer.g_panel = s.panel();
  outer.count = g.Q;
  for (int i = first; i < last; i++) {
    const int n = i / g.strips(), p = i % g.strips() * g.strip;
    outer.runs = g.P - p < g.strip ? g.P - p : g.strip;
    outer.d = maps + ((long)n * s.panels + panel) * map + p * outer.d_run;
    outer.add = add || i > first;
    for (int b = first_block; b < last_block; b++) {
      outer.x = x + n * image + v.offsets[b] + p * v.line;
      outer.g = sums + panel * s.panel() + b * s.cell();
      outer_product(outer, b < v.full ? v.lanes : v.tail_lanes, wide);
    }
  }
}

// Sums the parts in order; a cell of a picture becomes S taps of 16 channels.
static void join_parts(Device& device, const Sums& sums, const float* parts, int count, int C,
                       bool picture, const PlTensor& dw) {
  const Sums s = sums;
  const int S = dw.dims[3];
  float* to = f32(dw);
  if (!picture && parts == to) return;
  parallel_for(device, s.panels * s.blocks, [=](int cell, int) {
    for (int i = 0; i < S * C * BLOCK && picture; i++) {
      float sum = 0;
      for (int part = 0; part < count; part++)
        sum += parts[part * s.floats() + cell * s.cell() + i];
      const int tap = i / (C * BLOCK);
      to[((long)cell * S + tap) * BLOCK * BLOCK + i % (C * BLOCK)] = sum;
    }
    for (int tap = 0; tap < S && picture; tap++) {
      memset(to + ((long)cell * S + tap) * BLOCK * BLOCK + C * BLOCK, 0,
             sizeof(float) * (BLOCK - C) * BLOCK);
    }
    for (int i = 0; i < s.cell() && !picture; i++) {
      float sum = 0;
      for (int part = 0; part < count; part++)
        sum += parts[part * s.floats() + cell * s.cell() + i];
      to[cell * s.cell() + i] = sum;
    }
  });
}

// Block b of panel p, where p comes before the panels of b's group: block p of panel b, turned.
static void mirror(Device& device, int blocks, float* dw) {
  parallel_for(device, blocks * blocks, [=](int cell, int) {
    const int p = cell / blocks, b = cell % blocks;
    if (b / TILE_PANELS <= p / TILE_PANELS) return;
    const float* from = dw + ((long)b * blocks + p) * BLOCK * BLOCK;
    float* to = dw + (long)cell * BLOCK * BLOCK;
    for (int c = 0; c < BLOCK; c++) {
      for (int o = 0; o < BLOCK; o++) to[c * BLOCK + o] = from[o * BLOCK + c];
    }
  });
}

void conv2d_backward_weight(Device& device, const conv2d_backward_weight_args& t,
                            const Conv2dAttrs& a) {
  const int N = t.x.dims[0], C = t.x.dims[1], O = t.g.dims[1], P = t.g.dims[2], Q = t.g.dims[3];
  const int R = t.dw.dims[2], S = t.dw.dims[3];
  const WinogradShape tiled = {N, C, t.x.dims[2], t.x.dims[3], O, P, Q, a.pad_top, a.pad_left};
  if (winograd_pays(device, tiled, R, S, a)) {
    return winograd_backward_weight(device, tiled, f32(t.x), f32(t.g), f32(t.dw));
  }
  const int height = (P - 1) * a.stride_h + reach(R, a.dilation_h);
  const int width = (Q - 1) * a.stride_w + reach(S, a.dilation_w);
  const Copy copy =
      copy_of(C, t.x.dims[2], t.x.dims[3], height, width, a.pad_top, a.pad_left, a.dilation_w == 1);
  const Window window = window_of(device, copy, C, R, S, a);
  const bool picture = copy.lanes < BLOCK;
  // Maps with themselves, a Gram matrix: one half is the other one turned.
  const bool symmetric =
      t.x.data == t.g.data && copy.in_place && R * S * a.stride_h * a.stride_w == 1;
  const int rows = (window.lanes + OUTER_ROWS - 1) / OUTER_ROWS * OUTER_ROWS;
  const Sums sums = {blocks_of(O), window.blocks(), rows};
  const int groups = (sums.panels + TILE_PANELS - 1) / TILE_PANELS;
  // Tasks: groups, times channel blocks, times taps if these are few, times parts of the pixels.
  const int split = groups * copy.blocks * 2 >= WANTED_TASKS ? copy.blocks : sums.blocks;
  const int round = round_of(copy, N), per_row = STRIP_PIXELS / Q;
  Pixels pixels = {round, P, Q, per_row < 1 ? 1 : per_row};
  int parts = WANTED_TASKS / (groups * split);
  const long units = (long)round * pixels.strips() / 4;  // no less than 4 strips to a part
  parts = parts > units ? (int)units : parts;
  parts = parts < 1 ? 1 : parts;
  float* partial = f32(t.dw);
  if (parts > 1 || picture) partial = device.scratch(SUM_PARTS_SLOT, parts * sums.floats());
  // Every cell is written, but of the last block of channels only the rows in use.
  if (window.tail) memset(partial, 0, sizeof(float) * parts * sums.floats());
  for (int n = 0; n < N; n += round) {
    pixels.images = N - n < round ? N - n : round;
    const float* images = copy_images(device, copy, f32(t.x), n, pixels.images);
    const float* maps = f32(t.g) + (long)n * sums.panels * P * Q * BLOCK;
    const Pixels now = pixels;
    parallel_for(device, groups * split * parts, [=](int task, int) {
      const int panel = task / (split * parts) * TILE_PANELS, block = task / parts % split;
      const int part = task % parts;
      const long count = (long)now.images * now.strips();
      const int first = (int)((long)sums.blocks * block / split);
      const int last = (int)((long)sums.blocks * (block + 1) / split);
      if (symmetric && first >= panel + TILE_PANELS) return;
      add_strips(window, sums, now, images, copy.image(), maps, panel, first, last,
                 (int)(count * part / parts), (int)(count * (part + 1) / parts), n > 0,
                 partial + part * sums.floats());
    });
  }
  join_parts(device, sums, partial, parts, C, picture, t.dw);
  if (symmetric) mirror(device, sums.blocks, f32(t.dw));
}

void conv2d_backward_bias(Device& device, const conv2d_backward_bias_args& t, const NoAttrs&) {
  const int N = t.g.dims[0], blocks = blocks_of(t.g.dims[1]), cells = t.g.dims[2] * t.g.dims[3];
  const float* g = f32(t.g);
  float* db = f32(t.db);
  parallel_for(device, blocks, [=](int block, int) {
    double sum[BLOCK] = {};
    for (int n = 0; n < N; n++) {
      const float* map = g + ((long)n * blocks + block) * cells * BLOCK;
      for (int first = 0; first < cells; first += STRIP_PIXELS) {
        const int last = first + STRIP_PIXELS < cells ? first + STRIP_PIXELS : cells;
        float strip[BLOCK] = {};
        for (int i = first; i < last; i++) {
          for (int o = 0; o < BLOCK; o++) strip[o] += map[(long)i * BLOCK + o];
        }
        for (int o = 0; o < BLOCK; o++) sum[o] += strip[o];
      }
    }
    for (int o = 0; o < BLOCK; o++) db[block * BLOCK + o] = (float)sum[o];
  });
}

}  // namespace PL_ISA
}  // namespace partlens
