// depthwise_conv2d: y[n,c,p,q] = b[c] + sum_rs x[n,c,p*stride+r*dilation-pad,
// q*stride+s*dilation-pad] w[c,r,s], optional ReLU; and its gradient with respect to x.
//   in   x (N, C, H, W)  w (C, 1, R, S)  b (C) or none                  out  y (N, C, P, Q)
//   grid one task per image, block of 16 channels and strip of rows
//   tile 8 pixels of one vector in registers, of rows that are copied with zeros at their sides;
//        windows that reach over the top or bottom leave those taps out
//   cost 2 R S flop per output; each row is read R times from the cache, once from memory. One core
//        with AVX2, 3x3: 65 to 69 % of the rate of a copy of the same bytes, 14x14 maps 57 %
#include "../cpu_kernels.h"
#include "../simd/conv_core.h"
#include "epilogue.h"

namespace partlens {
namespace PL_ISA {

constexpr int PIXELS = 8;          // of a tile: as many sums as multiply-adds are under way
constexpr int STRIP_CELLS = 1024;  // outputs of one task, about

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

// Where the maps of all tasks lie: outputs `line` and `pixel` floats apart.
struct DepthwiseMaps {
  const float* from;
  const float* w;
  const float* bias;
  float* to;
  long from_map, to_map;
  long line, pixel;
  int images, blocks, R, S;
  bool relu;
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
  bool relu;
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
#pragma GCC unroll 8
  for (int i = 0; i < COUNT; i++) {
    store(t.y + (q + i) * t.pixel, t.relu ? positive(sum[i]) : sum[i]);
  }
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

static RowKernel row_kernel_for(const Axis& columns) {
  const int taps = columns.advance == 1 && columns.step == 1 ? columns.taps : 0;
  if (columns.stride == 1) {
    if (taps == 3) return row_kernel<1, 3>;
    if (taps == 5) return row_kernel<1, 5>;
    return taps == 7 ? row_kernel<1, 7> : row_kernel<1, 0>;
  }
  if (columns.stride != 2) return row_kernel<0, 0>;
  return taps == 3 ? row_kernel<2, 3> : taps == 5 ? row_kernel<2, 5> : row_kernel<2, 0>;
}

// Filters [C/16][R * S][16 c][16], of which the first c alone is used, to [C/16][R * S][16]: taps
// that lie a kilobyte apart share few sets of the cache.
static float* pack_filters(Device& device, const PlTensor& t) {
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
static Frame frame_of(const Axis& a, int q0, int q1) {
  const int ends[] = {a.at(q0, 0), a.at(q0, a.taps - 1), a.at(q1 - 1, 0), a.at(q1 - 1, a.taps - 1)};
  int low = ends[0], high = ends[0];
  for (const int end : ends) {
    low = end < low ? end : low;
    high = end > high ? end : high;
  }
  return {low, high - low + 1};
}

// The outputs q0..q1-1 of a row, from a frame that is copied or from the map itself.
struct Stretch {
  int q0, q1;
  bool copied;
  Frame frame;
};

constexpr int NARROW_ROW = 40;  // outputs: such rows are copied whole, of others the sides alone

struct Stretches {
  Stretch all[3];
  int count = 0;
  int floats = 0;  // of one row of all frames

  explicit Stretches(const Axis& columns) {
    int left, right;
    columns.whole(left, right);
    const int end = columns.count;
    const bool framed = columns.taps > 0 && (left > 0 || right < end);
    if (!framed || end <= NARROW_ROW || left >= right) {
      add(columns, 0, end, framed);
      return;
    }
    add(columns, 0, left, true);
    add(columns, left, right, false);
    add(columns, right, end, true);
  }

 private:
  void add(const Axis& columns, int q0, int q1, bool copied) {
    if (q0 >= q1) return;
    const Frame frame = copied ? frame_of(columns, q0, q1) : Frame{0, columns.size};
    all[count++] = {q0, q1, copied, frame};
    if (copied) floats += frame.width * BLOCK;
  }
};

// Row `y` of a map with zeros where the frame reaches over its sides.
static void frame_row(const float* map, int y, int size, const Frame& f, float* to) {
  const int begin = f.first < 0 ? 0 : f.first;
  const int end = f.first + f.width < size ? f.first + f.width : size;
  if (begin >= end) {
    memset(to, 0, sizeof(float) * f.width * BLOCK);
    return;
  }
  const int before = begin - f.first, after = f.first + f.width - end;
  memset(to, 0, sizeof(float) * before * BLOCK);
  memcpy(to + (long)before * BLOCK, map + ((long)y * size + begin) * BLOCK,
         sizeof(float) * (end - begin) * BLOCK);
  memset(to + (long)(f.width - after) * BLOCK, 0, sizeof(float) * after * BLOCK);
}

// The rows of a map that the outputs p0..p1-1 meet.
static void met_rows(const Axis& rows, int p0, int p1, int& begin, int& end) {
  const int a = rows.at(p0, 0), b = rows.at(p0, rows.taps - 1);
  const int c = rows.at(p1 - 1, 0), d = rows.at(p1 - 1, rows.taps - 1);
  begin = a < b ? a : b;
  end = (c > d ? c : d) + 1;
  begin = begin < 0 ? 0 : begin;
  end = end > rows.size ? rows.size : end;
}

static void convolve_maps(Device& device, const Axis& down, const Axis& across,
                          const DepthwiseMaps& maps, const Epilogue& epilogue = {}) {
  const Axis rows = down;
  const DepthwiseMaps m = maps;
  const Epilogue e = epilogue;
  const int strip = (STRIP_CELLS + across.count - 1) / across.count;
  const int strips = (rows.count + strip - 1) / strip;
  // Where windows reach over a side, rows are copied with zeros there: that costs less than outputs
  // of fewer taps, one by one.
  const Stretches stretches(across);
  const int far = rows.advance < 0 ? -rows.advance : rows.advance;
  const long most = (strip - 1) * (long)rows.stride + (long)(rows.taps - 1) * far + 1;
  const long lines = rows.taps > 0 ? (most < rows.size ? most : rows.size) : 0;
  float* copies = device.scratch(COPY_SLOT, device.threads() * lines * stretches.floats + BLOCK);
  const RowKernel kernel = row_kernel_for(across);
  parallel_for(device, m.images * m.blocks * strips, [=](int task, int worker) {
    const int map = task / strips, block = map % m.blocks, p0 = task % strips * strip;
    const int p1 = p0 + strip < rows.count ? p0 + strip : rows.count;
    float* copy = copies + worker * lines * stretches.floats;
    for (int k = 0; k < stretches.count; k++) {
      const Stretch stretch = stretches.all[k];
      const Frame frame = stretch.frame;
      const float* from = m.from + map * m.from_map;
      Axis down = rows, columns = across;  // of what is read
      if (stretch.copied && rows.taps > 0) {
        int begin, end;
        met_rows(rows, p0, p1, begin, end);
        for (int y = begin; y < end; y++) {
          frame_row(from, y, across.size, frame, copy + (long)(y - begin) * frame.width * BLOCK);
        }
        down.first -= begin;
        columns.first -= frame.first;
        columns.size = frame.width;
        from = copy;
        copy += lines * frame.width * BLOCK;
      }
      for (int p = p0; p < p1; p++) {
        Row row = {down,    columns, p,       0,       0,   0,     columns.taps,
                   nullptr, nullptr, nullptr, m.pixel, m.S, Vec{}, m.relu};
        rows.met(p, row.r0, row.r1);
        float* to = m.to + map * m.to_map + p * m.line;
        for (int lane = 0; lane < BLOCK; lane += VL) {
          row.x = from + lane;
          row.w = m.w + (long)block * m.R * m.S * BLOCK + lane;
          row.bias = m.bias ? load(m.bias + block * BLOCK + lane) : Vec{};
          row.y = to + lane;
          kernel(row, stretch.q0, stretch.q1);
        }
        e.end(to + stretch.q0 * (long)BLOCK, (stretch.q1 - stretch.q0) * (long)BLOCK);
      }
    }
  });
}

void depthwise_conv2d_forward(Device& device, const depthwise_conv2d_forward_args& t,
                              const DepthwiseConv2dAttrs& a) {
  const int H = t.x.dims[2], W = t.x.dims[3], P = t.y.dims[2], Q = t.y.dims[3];
  const int R = t.w.dims[2], S = t.w.dims[3];
  const Axis rows = {P, H, a.stride_h, -a.pad_top, a.dilation_h, R, 0, 1};
  const Axis columns = {Q, W, a.stride_w, -a.pad_left, a.dilation_w, S, 0, 1};
  convolve_maps(device, rows, columns,
                {f32(t.x), pack_filters(device, t.w), t.b.data ? f32(t.b) : nullptr, f32(t.y),
                 (long)H * W * BLOCK, (long)P * Q * BLOCK, (long)Q * BLOCK, BLOCK, t.x.dims[0],
                 blocks_of(t.x.dims[1]), R, S, a.relu != 0},
                Epilogue::of(t, a));
}

// Every stride-th pixel of dx sees the same taps: a convolution of g, stride 1, for each phase.
void depthwise_conv2d_backward_data(Device& device, const depthwise_conv2d_backward_data_args& t,
                                    const DepthwiseConv2dAttrs& a) {
  const int H = t.dx.dims[2], W = t.dx.dims[3], P = t.g.dims[2], Q = t.g.dims[3];
  const int R = t.w.dims[2], S = t.w.dims[3];
  const float* w = pack_filters(device, t.w);
  for (int y = 0; y < a.stride_h && y < H; y++) {
    const Phase down = phase_of(y, H, a.stride_h, a.pad_top, R, a.dilation_h);
    const Axis rows = {down.count, P, 1, down.shift, -down.back, down.taps, down.tap, down.step};
    for (int x = 0; x < a.stride_w && x < W; x++) {
      const Phase over = phase_of(x, W, a.stride_w, a.pad_left, S, a.dilation_w);
      const Axis columns = {over.count, Q,         1,        over.shift,
                            -over.back, over.taps, over.tap, over.step};
      convolve_maps(device, rows, columns,
                    {f32(t.g), w, nullptr, f32(t.dx) + ((long)y * W + x) * BLOCK,
                     (long)P * Q * BLOCK, (long)H * W * BLOCK, (long)a.stride_h * W * BLOCK,
                     (long)a.stride_w * BLOCK, t.g.dims[0], blocks_of(t.g.dims[1]), R, S, false});
    }
  }
}

}  // namespace PL_ISA
}  // namespace partlens
