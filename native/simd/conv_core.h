// Convolution as an implicit matrix product: each tap of the window is an offset into the maps, or
// into a copy with borders. Forward, backward-data and backward-weight share it.
#pragma once
#include "../ops/epilogue.h"
#include "gemm.h"

namespace partlens {
namespace PL_ISA {

enum { COPY_SLOT = 4, OFFSET_SLOT = 5, WEIGHT_SLOT = 6, SUM_PARTS_SLOT = 7 };
constexpr long COPY_FLOATS = 8l << 20;  // the copies of a round stay near the cache
constexpr int NARROW = 8;               // pictures: up to so many channels are packed densely
constexpr int COPY_ROWS = 32;           // rows that one task copies

// Maps as windows read them: (blocks, height, width, lanes), pixel (0, 0) of the maps at (top,
// left) and zeros around. Maps that need no border are read in place.
struct Copy {
  int blocks, H, W;
  int height, width, top, left;
  int lanes;  // values of a pixel: 16, or the channels of a picture
  bool in_place;
  bool planes;  // the maps are a picture: a plane for each channel

  long line() const { return (long)width * lanes; }
  long map() const { return height * line(); }
  long image() const { return blocks * map(); }
  long map_in() const { return (long)H * W * (planes ? lanes : BLOCK); }
};

// `dense`: a few channels may be packed.
static inline Copy copy_of(int C, int H, int W, int height, int width, int top, int left,
                           bool dense) {
  const int lanes = dense && C <= NARROW ? C : BLOCK;
  Copy c = {blocks_of(C), H, W, height, width, top, left, lanes, false, false};
  c.in_place = c.lanes == BLOCK && !top && !left && height <= H && width <= W;
  if (c.in_place) {
    c.height = H;
    c.width = W;
  }
  return c;
}

// `count` pixels of planes that lie `plane` floats apart, side by side. LANES: 0 where only c
// knows.
template <int LANES>
static inline void copy_pixels(const float* from, long plane, int count, int lanes, float* to) {
  const int values = LANES ? LANES : lanes;
  for (int x = 0; x < count; x++) {
    for (int lane = 0; lane < values; lane++) *to++ = from[lane * plane + x];
  }
}

static inline void copy_row(const Copy& c, const float* map, int row, float* to) {
  const int y = row - c.top, first = c.left > 0 ? c.left : 0;
  const int end = c.left + c.W < c.width ? c.left + c.W : c.width;
  if (y < 0 || y >= c.H || first >= end) {
    memset(to, 0, sizeof(float) * c.line());
    return;
  }
  const long cell = (long)y * c.W + first - c.left;
  const float* from = map + cell * BLOCK;
  memset(to, 0, sizeof(float) * first * c.lanes);
  memset(to + (long)end * c.lanes, 0, sizeof(float) * (c.width - end) * c.lanes);
  to += (long)first * c.lanes;
  if (c.planes) {
    const long plane = (long)c.H * c.W;
    const auto copy = c.lanes == 3 ? copy_pixels<3> : copy_pixels<0>;
    return copy(map + cell, plane, end - first, c.lanes, to);
  }
  if (c.lanes == BLOCK) {
    memcpy(to, from, sizeof(float) * (end - first) * BLOCK);
    return;
  }
  for (int x = first; x < end; x++, from += BLOCK) {
    for (int lane = 0; lane < c.lanes; lane++) *to++ = from[lane];
  }
}

// The images first..first+count-1 as windows read them; valid until the next call.
static inline const float* copy_images(Device& device, const Copy& copy, const float* x, int first,
                                       int count) {
  const Copy c = copy;
  if (c.in_place) return x + first * c.image();
  // Kernels may read, and ignore, up to 16 floats after a row of a picture.
  float* copies = device.scratch(COPY_SLOT, count * c.image() + BLOCK);
  const int parts = (c.height + COPY_ROWS - 1) / COPY_ROWS;
  parallel_for(device, count * c.blocks * parts, [=](int task, int) {
    const long map = task / parts;
    const int row = task % parts * COPY_ROWS;
    for (int i = row; i < row + COPY_ROWS && i < c.height; i++) {
      copy_row(c, x + (first * (long)c.blocks + map) * c.map_in(), i,
               copies + map * c.map() + i * c.line());
    }
  });
  return copies;
}

// Images of one round.
static inline int round_of(const Copy& c, int images) {
  const long fit = c.in_place ? images : COPY_FLOATS / c.image();
  return fit < 1 ? 1 : fit > images ? images : (int)fit;
}

// The values of a window in blocks: block b of the window of output (p, q) lies at
// p * line + q * pixel + offsets[b] of its image. The last `tail` blocks have fewer lanes.
struct Window {
  int* offsets;
  int full, lanes;
  int tail, tail_lanes;
  long line, pixel;

  int blocks() const { return full + tail; }
};

// Cells from the first to the last tap of a window.
static inline int reach(int taps, int dilation) { return (taps - 1) * dilation + 1; }

// The window R x S of a copy. A picture has one block for each row of the window, S * C values.
template <class Attrs>
static Window window_of(Device& device, const Copy& c, int C, int R, int S, const Attrs& a) {
  Window v = {};
  v.line = a.stride_h * c.line();
  v.pixel = (long)a.stride_w * c.lanes;
  v.offsets = reinterpret_cast<int*>(device.scratch(OFFSET_SLOT, (size_t)c.blocks * R * S));
  if (c.lanes < BLOCK) {
    v.full = R;
    v.lanes = S * c.lanes;
    for (int r = 0; r < R; r++) v.offsets[r] = (int)(r * a.dilation_h * c.line());
    return v;
  }
  v.tail_lanes = C % BLOCK;
  v.tail = v.tail_lanes ? R * S : 0;
  v.full = c.blocks * R * S - v.tail;
  v.lanes = BLOCK;
  for (int b = 0; b < c.blocks * R * S; b++) {
    const int tap = b % (R * S);
    v.offsets[b] = (int)(b / (R * S) * c.map() + tap / S * a.dilation_h * c.line() +
                         tap % S * a.dilation_w * c.lanes);
  }
  return v;
}

// One axis of the pixels first, first + stride, ... of dx: pixel number u reads g at
// u + shift - k * back through the taps tap + k * step, k = 0..taps-1.
struct Phase {
  int count, tap, taps, shift, step, back;
};

static inline Phase phase_of(int first, int size, int stride, int pad, int window, int dilation) {
  // The taps that meet these pixels come every stride / gcd(stride, dilation).
  int gcd = stride;
  for (int rest = dilation; rest;) {
    const int next = gcd % rest;
    gcd = rest;
    rest = next;
  }
  Phase p = {(size - first + stride - 1) / stride, 0, 0, 0, stride / gcd, dilation / gcd};
  const auto met = [=](int tap) { return (first + pad - (long)tap * dilation) % stride == 0; };
  while (p.tap < p.step && p.tap < window && !met(p.tap)) p.tap++;
  if (p.tap < p.step && p.tap < window) p.taps = (window - p.tap + p.step - 1) / p.step;
  if (p.taps) p.shift = (int)((first + pad - (long)p.tap * dilation) / stride);
  return p;
}

// Range of g that one axis reads: `border` zeros before it, `size` in all.
struct Reach {
  int border, size;
};

static inline Reach reach_of(int size, int stride, int pad, int window, int dilation) {
  int low = 1 << 30, high = -(1 << 30);
  for (int first = 0; first < stride && first < size; first++) {
    const Phase p = phase_of(first, size, stride, pad, window, dilation);
    if (!p.taps) continue;
    if (p.shift - (p.taps - 1) * p.back < low) low = p.shift - (p.taps - 1) * p.back;
    if (p.shift + p.count > high) high = p.shift + p.count;
  }
  return high < low ? Reach{0, 1} : Reach{-low, high - low};
}

// Offsets of `count` blocks of the windows of one phase, (blocks, taps) of a copy with borders.
static inline void phase_offsets(const Copy& c, const Phase& rows, const Phase& columns, int top,
                                 int left, int count, int* offsets) {
  const int taps = rows.taps * columns.taps;
  for (int b = 0; b < count; b++) {
    const int k = b % taps;
    const int down = top + rows.shift - k / columns.taps * rows.back;
    const int right = left + columns.shift - k % columns.taps * columns.back;
    offsets[b] = (int)(b / taps * c.map() + down * c.line() + right * BLOCK);
  }
}

// Outputs of a convolution, or every n-th of them: rows and pixels lie `line` and `pixel` apart.
struct Outputs {
  int P, Q;
  long start, line, pixel;
  long map;  // floats of one block of channels of one image
  int channels;
  int panels() const { return blocks_of(channels); }
};

constexpr long STRIP_FLOATS = 32l << 10;  // of windows that one task reads again for each panel
constexpr int STRIP_CELLS_MOST = 1024;
constexpr int TASKS = 32;  // of a call at least, where there are so many panels

// The outputs of one task: whole rows, or a part of the one row that there is.
struct Strips {
  int rows, columns;  // of one strip
  int down, across;   // strips of a map

  int count() const { return down * across; }
};

// `values`: of a window, those that are read together.
static inline Strips strips_of(const Outputs& o, int values) {
  long cells = STRIP_FLOATS / (values < 1 ? 1 : values);
  if (cells < 4 * TILE_ROWS) cells = 4 * TILE_ROWS;
  if (cells > STRIP_CELLS_MOST) cells = STRIP_CELLS_MOST;
  if (o.P == 1) {
    const int across = (int)((o.Q + cells - 1) / cells);
    return {1, across ? (o.Q + across - 1) / across : 1, 1, across};
  }
  const int fit = o.Q > 0 ? (int)(cells / o.Q) : 1, rows = fit < 1 ? 1 : fit;
  return {rows, o.Q, (o.P + rows - 1) / rows, 1};
}

// Outputs of `count` images, y: sum of blocks of windows times panels w
// [panels][blocks][lanes][16]. A task's windows stay in L2 from panel to panel, a panel's stretch
// of w in L1.
static inline void multiply_windows(Device& device, const float* x, long image, int count,
                                    const Window& window, const float* w, const float* bias,
                                    bool relu, const Outputs& outputs, float* y,
                                    const Epilogue& epilogue = {}) {
  const Outputs o = outputs;
  const Epilogue last_act = epilogue.rest(relu);
  const Range range = epilogue.range(relu);
  const bool pointwise = o.P == 1 && window.pixel == BLOCK;
  const Window v = window;
  const int fit = 576 / v.lanes;  // blocks whose panels stay in L2
  const int step = fit < 1 ? 1 : fit, together = v.blocks() < step ? v.blocks() : step;
  const Strips strips = strips_of(o, together * v.lanes);
  const int pairs = (o.panels() + TILE_PANELS - 1) / TILE_PANELS, here = count * strips.count();
  const int wanted = here < TASKS ? (TASKS + here - 1) / here : 1;
  const int own = (pairs + wanted - 1) / wanted * TILE_PANELS;  // panels of one task
  const int groups = (o.panels() + own - 1) / own;
  parallel_for(device, here * groups, [=](int task, int) {
    const int first = task % groups * own,
              last = first + own < o.panels() ? first + own : o.panels();
    const int strip = task / groups % strips.count(), n = task / groups / strips.count();
    const int p0 = strip / strips.across * strips.rows;
    const int q0 = strip % strips.across * strips.columns;
    const int p1 = p0 + strips.rows < o.P ? p0 + strips.rows : o.P;
    const int columns = o.Q - q0 < strips.columns ? o.Q - q0 : strips.columns;
    Tile tile;
    tile.a_row = v.pixel;
    tile.lanes = v.lanes;
    tile.tail_lanes = v.tail_lanes;
    tile.w_block = (long)v.lanes * BLOCK;
    tile.w_panel = v.blocks() * tile.w_block;
    tile.c_row = o.pixel;
    tile.c_panel = o.map;
    for (int b = 0; b == 0 || b < v.blocks(); b += step) {
      const int blocks = v.blocks() - b < step ? v.blocks() - b : step;
      const bool end = b + blocks == v.blocks();
      tile.full = v.full - b < blocks ? (v.full > b ? v.full - b : 0) : blocks;
      tile.tail = blocks - tile.full;
      tile.offsets = v.offsets + b;
      tile.add = b > 0;
      tile.range = end ? range : Range{};
      for (int panel = first, wide = 1; panel < last; panel += wide) {
        const int stop = last * BLOCK < o.channels ? last * BLOCK : o.channels;
        tile.w = w + panel * tile.w_panel + b * tile.w_block;
        // Blocks of maps lie far apart, which no prefetcher follows; later panels find them in L2.
        tile.rows_once = pointwise && panel == first;
        tile.bias = end && bias ? bias + panel * BLOCK : nullptr;
        for (int p = p0; p < p1; p++) {
          tile.a = x + n * image + p * v.line + q0 * v.pixel;
          tile.c = y + ((long)n * o.panels() + panel) * o.map + o.start + p * o.line + q0 * o.pixel;
          wide = tile_columns(tile, columns, stop - panel * BLOCK);
        }
        if (!end) continue;
        for (int i = 0; i < wide; i++) {
          last_act.end(y + ((long)n * o.panels() + panel + i) * o.map + p0 * o.line + q0 * o.pixel,
                       ((p1 - p0 - 1) * (long)o.Q + columns) * BLOCK);
        }
      }
    }
  });
}

}  // namespace PL_ISA
}  // namespace partlens
