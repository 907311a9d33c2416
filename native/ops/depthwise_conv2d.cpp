// depthwise_conv2d: y[n,c,p,q] = b[c] + sum_rs x[n,c,p*stride+r*dilation-pad,
// q*stride+s*dilation-pad] w[c,r,s], optional ReLU; and its gradient with respect to x.
//   in   x (N, C, H, W)  w (C, 1, R, S)  b (C) or none                  out  y (N, C, P, Q)
//   grid one task per image, block of 16 channels and strip of rows
//   tile 8 pixels of one vector in registers, of rows that are copied with zeros at their sides;
//        windows that reach over the top or bottom leave those taps out
//   cost 2 R S flop per output; each row is read R times from the cache, once from memory. One core
//        with AVX2, 3x3: 65 to 69 % of the rate of a copy of the same bytes, 14x14 maps 57 %
#include "../cpu_kernels.h"
#include "depthwise.h"
#include "epilogue.h"

namespace partlens {
namespace PL_ISA {

constexpr int STRIP_CELLS = 1024;  // outputs of one task, about

// Where the maps of all tasks lie: outputs `line` and `pixel` floats apart.
struct DepthwiseMaps {
  const float* from;
  const float* w;
  const float* bias;
  float* to;
  long from_map, to_map;
  long line, pixel;
  int images, channels, R, S;
  bool relu;
};

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

static void convolve_maps(Device& device, const Axis& down, const Axis& across,
                          const DepthwiseMaps& maps, const Epilogue& epilogue = {}) {
  const Axis rows = down;
  const DepthwiseMaps m = maps;
  const Epilogue e = epilogue.rest(m.relu);
  const Range range = epilogue.range(m.relu);
  const int blocks = blocks_of(m.channels);
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
  parallel_for(device, m.images * blocks * strips, [=](int task, int worker) {
    const int map = task / strips, block = map % blocks, p0 = task % strips * strip;
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
                   nullptr, nullptr, nullptr, m.pixel, m.S, Vec{}, range};
        rows.met(p, row.r0, row.r1);
        float* to = m.to + map * m.to_map + p * m.line;
        for (int lane = 0; lane < BLOCK; lane += VL) {
          const int count = stretch.q1 - stretch.q0;
          float* first = to + stretch.q0 * m.pixel + lane;
          if (!holds_channels(block * BLOCK + lane, m.channels, first, count, m.pixel)) continue;
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
                 t.x.dims[1], R, S, a.relu != 0},
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
                     (long)a.stride_w * BLOCK, t.g.dims[0], t.g.dims[1], R, S, false});
    }
  }
}

}  // namespace PL_ISA
}  // namespace partlens
