// grouped_conv2d: conv2d in `groups` groups of channels that do not see each other; and its
// gradient with respect to x.
//   in   x (N, C, H, W)  w (O, C / groups, R, S)  b (O) or none          out  y (N, O, P, Q)
//   grid panels of 16 outputs, times images, times strips of rows
//   tile as conv2d, but a panel reads only the blocks of 16 channels that its groups need; weights
//        are packed for that at every call, with zeros for the channels of other groups in a block
//   cost 2 R S flop per output and channel of those blocks
#include "../cpu_kernels.h"
#include "../simd/conv_core.h"

namespace partlens {
namespace PL_ISA {

constexpr int GROUP_SLOT = 8;  // scratch: first blocks of panels
constexpr int CELLS = BLOCK * BLOCK;

// The blocks of channels on one side that each panel of 16 channels on the other side reads.
struct GroupBlocks {
  int panels, blocks;  // of the panels; that each of them reads
  int* first;          // of each panel
};

// `to` channels in panels, `from` channels in blocks.
static GroupBlocks group_blocks(Device& device, int to, int from, int groups) {
  GroupBlocks b = {blocks_of(to), 1, nullptr};
  b.first = reinterpret_cast<int*>(device.scratch(GROUP_SLOT, b.panels));
  for (int pass = 0; pass < 2; pass++) {
    for (int panel = 0; panel < b.panels; panel++) {
      const int last = panel * BLOCK + BLOCK < to ? panel * BLOCK + BLOCK : to;
      const int group0 = panel * BLOCK / (to / groups), group1 = (last - 1) / (to / groups);
      const int begin = (int)((long)group0 * (from / groups) / BLOCK);
      const int end = blocks_of((group1 + 1) * (from / groups));
      if (end - begin > b.blocks) b.blocks = end - begin;
      // The width of the widest for all, inside the maps.
      const int latest = blocks_of(from) - b.blocks;
      b.first[panel] = begin < latest ? begin : latest;
    }
  }
  return b;
}

// Block [16 c][16 o] of one tap: channels from 16 c_block on, outputs from 16 o_block on.
static void group_cell(const PlTensor& t, int groups, int o_block, int c_block, int tap,
                       float* cell) {
  const int O = t.dims[0], in = t.dims[1], out = O / groups, taps = t.dims[2] * t.dims[3];
  const float* filters = f32(t) + (long)o_block * blocks_of(in) * taps * CELLS;
  memset(cell, 0, sizeof(float) * CELLS);
  for (int c = c_block * BLOCK; c < c_block * BLOCK + BLOCK && c < in * groups; c++) {
    const int group = c / in, k = c % in;
    int o0 = group * out - o_block * BLOCK, o1 = o0 + out;
    o0 = o0 < 0 ? 0 : o0;
    o1 = o1 > BLOCK ? BLOCK : o1;
    if (o0 >= o1) continue;
    const float* row = filters + ((long)k / BLOCK * taps + tap) * CELLS + k % BLOCK * BLOCK;
    memcpy(cell + c % BLOCK * BLOCK + o0, row + o0, sizeof(float) * (o1 - o0));
  }
}

// As multiply_windows, but the panels start at blocks of their own. v: the window of the first
// blocks of channels.
static void multiply_groups(Device& device, const float* x, const Copy& copy, int count,
                            const GroupBlocks& blocks, const Window& window, const float* w,
                            const float* bias, bool relu, const Outputs& outputs, float* y,
                            const Epilogue& epilogue = {}) {
  const Outputs o = outputs;
  const Epilogue rest = epilogue.rest(relu);
  const Range range = epilogue.range(relu);
  const Window v = window;
  const GroupBlocks b = blocks;
  const long image = copy.image(), from_map = copy.map();
  const int strip = o.P * o.Q <= 1024 ? o.P : (1024 + o.Q - 1) / o.Q;
  const int strips = (o.P + strip - 1) / strip;
  parallel_for(device, b.panels * count * strips, [=](int task, int) {
    const int panel = task / (count * strips), n = task / strips % count;
    const int p0 = task % strips * strip, p1 = p0 + strip < o.P ? p0 + strip : o.P;
    Tile tile;
    tile.a_row = v.pixel;
    tile.offsets = v.offsets;
    tile.full = v.full;
    tile.w = w + (long)panel * v.full * CELLS;
    tile.c_row = o.pixel;
    tile.bias = bias ? bias + panel * BLOCK : nullptr;
    tile.range = range;
    for (int p = p0; p < p1; p++) {
      tile.a = x + n * image + b.first[panel] * from_map + p * v.line;
      tile.c = y + ((long)n * b.panels + panel) * o.map + o.start + p * o.line;
      tile_rows(tile, o.Q, 1);
      rest.end(tile.c, (long)o.Q * BLOCK);
    }
  });
}

void grouped_conv2d_forward(Device& device, const grouped_conv2d_forward_args& t,
                            const GroupedConv2dAttrs& a) {
  const int N = t.x.dims[0], C = t.x.dims[1], O = t.y.dims[1], P = t.y.dims[2], Q = t.y.dims[3];
  const int R = t.w.dims[2], S = t.w.dims[3], taps = R * S, groups = a.groups;
  const GroupBlocks blocks = group_blocks(device, O, C, groups);
  const int height = (P - 1) * a.stride_h + reach(R, a.dilation_h);
  const int width = (Q - 1) * a.stride_w + reach(S, a.dilation_w);
  const Copy copy =
      copy_of(C, t.x.dims[2], t.x.dims[3], height, width, a.pad_top, a.pad_left, false);
  Window window = window_of(device, copy, C, R, S, a);
  window.full = blocks.blocks * taps;
  float* packed = device.scratch(WEIGHT_SLOT, (size_t)blocks.panels * window.full * CELLS);
  const PlTensor w = t.w;
  parallel_for(device, blocks.panels * window.full, [=](int task, int) {
    const int panel = task / window.full, k = task % window.full;
    group_cell(w, groups, panel, blocks.first[panel] + k / taps, k % taps,
               packed + (long)task * CELLS);
  });
  const Outputs out = {P, Q, 0, (long)Q * BLOCK, BLOCK, (long)P * Q * BLOCK, O};
  const int round = round_of(copy, N);
  for (int n = 0; n < N; n += round) {
    const int count = N - n < round ? N - n : round;
    const float* images = copy_images(device, copy, f32(t.x), n, count);
    multiply_groups(device, images, copy, count, blocks, window, packed,
                    t.b.data ? f32(t.b) : nullptr, a.relu != 0, out,
                    f32(t.y) + (long)n * blocks.panels * out.map, Epilogue::of(t, a));
  }
}

// The weights of one phase, turned: [C/16][blocks][taps][16 o][16 c].
static void turn_groups(Device& device, const PlTensor& filters, int groups,
                        const GroupBlocks& blocks, const Phase& rows, const Phase& columns,
                        float* turned) {
  const PlTensor w = filters;
  const GroupBlocks b = blocks;
  const Phase down = rows, across = columns;
  const int taps = down.taps * across.taps, full = b.blocks * taps;
  parallel_for(device, b.panels * full, [=](int task, int) {
    const int panel = task / full, k = task % full % taps;
    const int r = down.tap + k / across.taps * down.step;
    const int s = across.tap + k % across.taps * across.step;
    alignas(64) float cell[CELLS];
    group_cell(w, groups, b.first[panel] + task % full / taps, panel, r * w.dims[3] + s, cell);
    transpose_block(cell, turned + (long)task * CELLS);
  });
}

void grouped_conv2d_backward_data(Device& device, const grouped_conv2d_backward_data_args& t,
                                  const GroupedConv2dAttrs& a) {
  const int N = t.g.dims[0], O = t.g.dims[1], H = t.dx.dims[2], W = t.dx.dims[3];
  const int R = t.w.dims[2], S = t.w.dims[3];
  const GroupBlocks blocks = group_blocks(device, t.dx.dims[1], O, a.groups);
  const Reach down = reach_of(H, a.stride_h, a.pad_top, R, a.dilation_h);
  const Reach across = reach_of(W, a.stride_w, a.pad_left, S, a.dilation_w);
  const Copy copy = copy_of(O, t.g.dims[2], t.g.dims[3], down.size, across.size, down.border,
                            across.border, false);
  float* turned =
      device.scratch(WEIGHT_SLOT, (size_t)blocks.panels * blocks.blocks * R * S * CELLS);
  Window v = {};
  v.offsets = reinterpret_cast<int*>(device.scratch(OFFSET_SLOT, (size_t)blocks.blocks * R * S));
  v.lanes = v.pixel = BLOCK;
  v.line = copy.line();
  const int round = round_of(copy, N);
  const long map = (long)H * W * BLOCK;
  for (int n = 0; n < N; n += round) {
    const int count = N - n < round ? N - n : round;
    const float* g = copy_images(device, copy, f32(t.g), n, count);
    for (int phase = 0; phase < a.stride_h * a.stride_w; phase++) {
      const int y = phase / a.stride_w, x = phase % a.stride_w;
      if (y >= H || x >= W) continue;
      const Phase rows = phase_of(y, H, a.stride_h, a.pad_top, R, a.dilation_h);
      const Phase columns = phase_of(x, W, a.stride_w, a.pad_left, S, a.dilation_w);
      turn_groups(device, t.w, a.groups, blocks, rows, columns, turned);
      v.full = blocks.blocks * rows.taps * columns.taps;
      phase_offsets(copy, rows, columns, down.border, across.border, v.full, v.offsets);
      const Outputs out = {rows.count,
                           columns.count,
                           ((long)y * W + x) * BLOCK,
                           (long)a.stride_h * W * BLOCK,
                           (long)a.stride_w * BLOCK,
                           map,
                           t.dx.dims[1]};
      multiply_groups(device, g, copy, count, blocks, v, turned, nullptr, false, out,
                      f32(t.dx) + (long)n * blocks.panels * map);
    }
  }
}

}  // namespace PL_ISA
}  // namespace partlens
