// The windows of one channel each, row by row: depthwise_conv2d and expand_depthwise share them.
#pragma once
#include "../simd/conv_core.h"

namespace partlens {
namespace PL_ISA {

constexpr int PIXELS = 8;  // of a tile: as many sums as multiply-adds are under way

// One axis: output u reads the source at u * stride + first + k * advance through the taps
// tap + k * step, k = 0..taps-1; it lies `pixel` * u after the first one.
struct Axis {
  int count, size;  // outputs, cells of the source
  int stride, first, advance;
  int taps, tap, step;

  // The taps of output u that meet the source.
  void met(int u, int& begin, int& end) const {
    for (begin = 0; begin < taps && !inside(at(u, begin)); begin++) {
    }
    for (end = taps; end > begin && !inside(at(u, end - 1)); end--) {
    }
  }
  int at(int u, int k) const { return u * stride + first + k * advance; }
  bool inside(int cell) const { return cell >= 0 && cell < size; }

  // The outputs begin..end-1 whose taps all meet it.
  void whole(int& begin, int& end) const {
    const int last = taps > 0 ? taps - 1 : 0;
    for (begin = 0; begin < count && !(inside(at(begin, 0)) && inside(at(begin, last))); begin++) {
    }
    for (end = count; end > begin && !(inside(at(end - 1, 0)) && inside(at(end - 1, last)));
         end--) {
    }
  }
};

// One row of outputs, one vector of channels: the taps r0..r1-1 of the rows, s0..s1-1.
struct Row {
  Axis rows, columns;
  int p, r0, r1, s0, s1;
  const float *x, *w;
  float* y;
  long pixel;
  int S;
  Vec bias;
  Range range;
};

// Outputs q.. of a row. STRIDE, TAPS: of the columns, 0 where only the row knows them; with TAPS
// they lie side by side, and what neighbouring windows share is loaded once.
template <int COUNT, int STRIDE, int TAPS>
static inline void tile_row(const Row& t, int q) {
  Vec sum[COUNT];
#pragma GCC unroll 8
  for (int i = 0; i < COUNT; i++) sum[i] = t.bias;
  const long right = (long)(STRIDE ? STRIDE : t.columns.stride) * BLOCK;
  const long advance = TAPS ? BLOCK : (long)t.columns.advance * BLOCK;
  const long step = TAPS ? BLOCK : (long)t.columns.step * BLOCK;
  const int taps = TAPS ? TAPS : t.s1 - t.s0;
  // The row that the next outputs are the first to read: half a row of work hides its way here.
  const float* next = t.x + (((long)t.rows.at(t.p, t.r1 - 1) + t.rows.stride) * t.columns.size +
                             t.columns.at(q, t.s0)) *
                                BLOCK;
#pragma GCC unroll 8
  for (int i = 0; i < COUNT; i++) __builtin_prefetch(next + i * right);
  for (int r = t.r0; r < t.r1; r++) {
    const float* cell =
        t.x + ((long)t.rows.at(t.p, r) * t.columns.size + t.columns.at(q, t.s0)) * BLOCK;
    const float* tap = t.w + (long)(t.rows.tap + r * t.rows.step) * t.S * BLOCK +
                       (t.columns.tap + t.s0 * t.columns.step) * BLOCK;
#pragma GCC unroll 7
    for (int s = 0; s < taps; s++, cell += advance, tap += step) {
      const Vec factor = load(tap);
#pragma GCC unroll 8
      for (int i = 0; i < COUNT; i++) sum[i] += factor * load(cell + i * right);
    }
  }
  const Vec low = Vec{} + t.range.low, high = Vec{} + t.range.high;
#pragma GCC unroll 8
  for (int i = 0; i < COUNT; i++) store(t.y + (q + i) * t.pixel, within(sum[i], low, high));
}

template <int STRIDE, int TAPS>
static void row_kernel(const Row& t, int q, int end) {
  for (; q + PIXELS <= end; q += PIXELS) tile_row<PIXELS, STRIDE, TAPS>(t, q);
  switch (end - q) {
    case 7:
      return tile_row<7, STRIDE, TAPS>(t, q);
    case 6:
      return tile_row<6, STRIDE, TAPS>(t, q);
    case 5:
      return tile_row<5, STRIDE, TAPS>(t, q);
    case 4:
      return tile_row<4, STRIDE, TAPS>(t, q);
    case 3:
      return tile_row<3, STRIDE, TAPS>(t, q);
    case 2:
      return tile_row<2, STRIDE, TAPS>(t, q);
    case 1:
      return tile_row<1, STRIDE, TAPS>(t, q);
  }
}

typedef void (*RowKernel)(const Row&, int, int);

static inline RowKernel row_kernel_for(const Axis& columns) {
  const int taps = columns.advance == 1 && columns.step == 1 ? columns.taps : 0;
  if (columns.stride == 1) {
    if (taps == 3) return row_kernel<1, 3>;
    if (taps == 5) return row_kernel<1, 5>;
    return taps == 7 ? row_kernel<1, 7> : row_kernel<1, 0>;
  }
  if (columns.stride != 2) return row_kernel<0, 0>;
  return taps == 3 ? row_kernel<2, 3> : taps == 5 ? row_kernel<2, 5> : row_kernel<2, 0>;
}

// Whether a vector of lanes holds channels; one that does not is `count` zeros, `pixel` floats
// apart.
static inline bool holds_channels(int channel, int C, float* y, int count, long pixel) {
  if (channel < C) return true;
  for (int q = 0; q < count; q++) store(y + q * pixel, Vec{});
  return false;
}

// Filters [C/16][R * S][16 c][16], of which the first c alone is used, to [C/16][R * S][16]: taps
// that lie a kilobyte apart share few sets of the cache.
static inline float* pack_filters(Device& device, const PlTensor& t) {
  const long taps = (long)blocks_of(t.dims[0]) * t.dims[2] * t.dims[3];
  const float* w = f32(t);
  float* packed = device.scratch(WEIGHT_SLOT, taps * BLOCK);
  for (long i = 0; i < taps; i++) {
    memcpy(packed + i * BLOCK, w + i * BLOCK * BLOCK, sizeof(float) * BLOCK);
  }
  return packed;
}

// The columns that all windows of a row meet, borders included: `width` from `first` on.
struct Frame {
  int first, width;
};
static inline Frame frame_of(const Axis& a, int q0, int q1) {
  const int ends[] = {a.at(q0, 0), a.at(q0, a.taps - 1), a.at(q1 - 1, 0), a.at(q1 - 1, a.taps - 1)};
  int low = ends[0], high = ends[0];
  for (const int end : ends) {
    low = end < low ? end : low;
    high = end > high ? end : high;
  }
  return {low, high - low + 1};
}

// The rows of a map that the outputs p0..p1-1 meet.
static inline void met_rows(const Axis& rows, int p0, int p1, int& begin, int& end) {
  const int a = rows.at(p0, 0), b = rows.at(p0, rows.taps - 1);
  const int c = rows.at(p1 - 1, 0), d = rows.at(p1 - 1, rows.taps - 1);
  begin = a < b ? a : b;
  end = (c > d ? c : d) + 1;
  begin = begin < 0 ? 0 : begin;
  end = end > rows.size ? rows.size : end;
}

}  // namespace PL_ISA
}  // namespace partlens
