// expand_depthwise: y = g(depthwise_conv2d(f(conv2d(x, w_expand) + b_expand), w) + b), the first of
// them 1x1; f, g: what ends a convolution, f(0) = 0.                            [Sandler 2018]
//   in   x (N, C, H, W)  w_expand (O, C, 1, 1)  b_expand (O) or none
//        w (O, 1, R, S)  b (O) or none                                  out  y (N, O, P, Q)
//   grid one task per image, part of its rows and block of 16 channels (32 with AVX-512)
//   tile a few rows of expanded maps with zeros at their sides, which stay in L2; what the next
//   rows
//        of outputs read of them moves to the front
//   cost 2 (C + R S) flop per output; x is read once for each block from the cache, y written once
#include "../cpu_kernels.h"
#include "depthwise.h"
#include "epilogue.h"

namespace partlens {
namespace PL_ISA {

namespace {

constexpr long EXPANDED_FLOATS = 16l << 10;  // of one task's expanded rows, about
constexpr long PART_FLOATS = 64l << 10;      // of x that a task reads, about

// The expanded rows of up to TILE_PANELS blocks, of one part of an image.
struct Expanded {
  Tile tile;           // of a row: a, c and the panels are missing
  const float* x;      // of the image
  float* maps;         // [blocks][lines][width][16]
  int W, wide, lines;  // columns of x, blocks, rows that there is space for
  Frame frame;         // columns of the expanded maps; those outside x are zeros
  Epilogue end;
  int first = 0, next = 0;  // rows that are there

  long line() const { return (long)frame.width * BLOCK; }
  int left() const { return frame.first > 0 ? frame.first : 0; }
  int right() const { return frame.first + frame.width < W ? frame.first + frame.width : W; }

  void clear() { memset(maps, 0, sizeof(float) * wide * tile.c_panel); }

  // Makes the rows begin..end-1; those before are no longer needed.
  void advance(int begin, int end_row) {
    const int kept = next > begin ? next - begin : 0;
    for (int i = 0; i < wide && kept > 0 && begin > first; i++) {
      float* to = maps + i * tile.c_panel;
      memmove(to, to + (begin - first) * line(), sizeof(float) * kept * line());
    }
    first = begin;
    for (next = begin + kept; next < end_row; next++) expand(next);
  }

 private:
  void expand(int row) {
    const int columns = right() - left();
    if (columns <= 0) return;
    float* to = maps + (row - first) * line() + (long)(left() - frame.first) * BLOCK;
    tile.a = x + ((long)row * W + left()) * BLOCK;
    tile.c = to;
    tile_rows(tile, columns, wide);
    for (int i = 0; i < wide; i++) end.end(to + i * tile.c_panel, columns * (long)BLOCK);
  }
};

// Rows of outputs that need at most so many rows of x.
int rows_within(long lines, const Axis& rows) {
  const long reached = (long)(rows.taps - 1) * rows.advance + 1;
  return lines <= reached ? 1 : (int)((lines - reached) / rows.stride + 1);
}

int times(long part, long whole) { return (int)((whole + part - 1) / part); }

}  // namespace

void expand_depthwise_forward(Device& device, const expand_depthwise_forward_args& t,
                              const ExpandDepthwiseAttrs& a) {
  const int C = t.x.dims[1], H = t.x.dims[2], W = t.x.dims[3];
  const int O = t.y.dims[1], P = t.y.dims[2], Q = t.y.dims[3], R = t.w.dims[2], S = t.w.dims[3];
  const Axis rows = {P, H, a.stride_h, -a.pad_top, a.dilation_h, R, 0, 1};
  const Axis across = {Q, W, a.stride_w, -a.pad_left, a.dilation_w, S, 0, 1};
  const Frame frame = frame_of(across, 0, Q);
  const long line = (long)frame.width * BLOCK, image = (long)blocks_of(C) * H * W * BLOCK;
  const int panels = blocks_of(O), groups = times(TILE_PANELS, panels);
  const int strip = rows_within(EXPANDED_FLOATS / (TILE_PANELS * line), rows);
  const int part = rows_within(PART_FLOATS / ((long)blocks_of(C) * W * BLOCK), rows);
  const int parts = times(part, P);
  const long most = (strip - 1) * (long)rows.stride + (long)(R - 1) * rows.advance + 1;
  const int lines = (int)(most < H ? most : H);
  const long own = TILE_PANELS * lines * line;  // of one thread
  float* scratch = device.scratch(COPY_SLOT, device.threads() * own);
  int* offsets = reinterpret_cast<int*>(device.scratch(OFFSET_SLOT, (size_t)blocks_of(C)));
  for (int b = 0; b < blocks_of(C); b++) offsets[b] = b * H * W * BLOCK;
  const float* w = pack_filters(device, t.w);
  const RowKernel kernel = row_kernel_for(across);
  const Epilogue whole = {f32(t.y), nullptr, a.activation, a.alpha, a.beta};
  const Epilogue end = whole.rest(a.relu != 0);
  const Range range = whole.range(a.relu != 0);
  Tile tile;
  tile.offsets = offsets;
  tile.full = C / BLOCK;
  tile.tail_lanes = C % BLOCK;
  tile.tail = tile.tail_lanes ? 1 : 0;
  tile.w_panel = blocks_of(C) * tile.w_block;
  tile.c_panel = lines * line;
  tile.rows_once = true;
  const Epilogue expanded = {nullptr, nullptr, a.expand_activation, a.expand_alpha, a.expand_beta};
  tile.range = expanded.range(a.expand_relu != 0);
  parallel_for(device, t.x.dims[0] * parts * groups, [=](int task, int worker) {
    const int panel = task % groups * TILE_PANELS, n = task / groups / parts;
    const int begin = task / groups % parts * part;
    const int stop = begin + part < P ? begin + part : P;
    float* maps = scratch + worker * own;
    Expanded e = {tile, f32(t.x) + n * image, maps, W, 0, lines, frame, {}};
    e.wide = panels - panel < TILE_PANELS ? panels - panel : TILE_PANELS;
    e.tile.w = f32(t.w_expand) + panel * tile.w_panel;
    e.tile.bias = t.b_expand.data ? f32(t.b_expand) + panel * BLOCK : nullptr;
    e.end = expanded.rest(a.expand_relu != 0);
    e.end.y = maps;
    e.clear();
    for (int p0 = begin; p0 < stop; p0 += strip) {
      const int p1 = p0 + strip < stop ? p0 + strip : stop;
      int first, next;
      met_rows(rows, p0, p1, first, next);
      e.advance(first, next);
      Axis down = rows, columns = across;  // of what is read
      down.first -= first;
      columns.first -= frame.first;
      columns.size = frame.width;
      for (int i = 0; i < e.wide; i++) {
        float* y = f32(t.y) + ((long)n * panels + panel + i) * P * Q * BLOCK;
        for (int p = p0; p < p1; p++) {
          Row row = {down,    columns, p,       0,     0, 0,     across.taps,
                     nullptr, nullptr, nullptr, BLOCK, S, Vec{}, range};
          rows.met(p, row.r0, row.r1);
          float* to = y + (long)p * Q * BLOCK;
          for (int lane = 0; lane < BLOCK; lane += VL) {
            if (!holds_channels((panel + i) * BLOCK + lane, O, to + lane, Q, BLOCK)) continue;
            row.x = maps + i * tile.c_panel + lane;
            row.w = w + (long)(panel + i) * R * S * BLOCK + lane;
            row.bias = t.b.data ? load(f32(t.b) + (panel + i) * BLOCK + lane) : Vec{};
            row.y = to + lane;
            kernel(row, 0, Q);
          }
          end.end(to, Q * (long)BLOCK);
        }
      }
    }
  });
}

}  // namespace PL_ISA
}  // namespace partlens
