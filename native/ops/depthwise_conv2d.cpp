// depthwise_conv2d: y[n,c,p,q] = b[c] + sum_rs x[n,c,p*stride+r*dilation-pad,
// q*stride+s*dilation-pad] w[c,r,s], optional ReLU; and its gradient with respect to x.
//   in   x (N, C, H, W)  w (C, 1, R, S)  b (C) or none                  out  y (N, C, P, Q)
//   grid one task per image, block of 16 channels and strip of rows
//   tile 8 pixels of one vector in registers; windows that reach over the border leave those taps
//        out, so nothing is copied
//   cost 2 R S flop per output; each row is read R times from the cache, once from memory
#include "../cpu_kernels.h"
#include "../simd/conv_core.h"

namespace partlens {
namespace PL_ISA {

constexpr int PIXELS = 8;            // of a tile: as many sums as multiply-adds are under way
constexpr int STRIP_CELLS = 1024;    // outputs of one task, about
constexpr long TAP = BLOCK * BLOCK;  // floats from one tap of a filter to the next

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

// A few outputs of one row, one vector of channels: the taps r0..r1-1 of the rows, s0..s1-1.
template <int COUNT>
static inline void tile_row(const Axis& rows, const Axis& columns, int r0, int r1, int s0, int s1,
                            const float* x, int p, int q, const float* w, int S, Vec bias,
                            bool relu, float* y, long pixel) {
  Vec sum[COUNT];
#pragma GCC unroll 8
  for (int i = 0; i < COUNT; i++) sum[i] = bias;
  const long right = (long)columns.stride * BLOCK, advance = (long)columns.advance * BLOCK;
  for (int r = r0; r < r1; r++) {
    const float* cell = x + ((long)rows.at(p, r) * columns.size + columns.at(q, s0)) * BLOCK;
    const float* tap = w + ((long)(rows.tap + r * rows.step) * S + columns.tap) * TAP;
    for (int s = s0; s < s1; s++, cell += advance) {
      const Vec factor = load(tap + s * columns.step * TAP);
#pragma GCC unroll 8
      for (int i = 0; i < COUNT; i++) sum[i] += factor * load(cell + i * right);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < COUNT; i++) store(y + i * pixel, relu ? positive(sum[i]) : sum[i]);
}

// Outputs q..q1-1 of row p that meet the same taps.
static void tile_rows(const Axis& rows, const Axis& columns, int r0, int r1, int s0, int s1,
                      const float* x, int p, int q, int q1, const float* w, int S, Vec bias,
                      bool relu, float* y, long pixel) {
  for (; q + PIXELS <= q1; q += PIXELS) {
    tile_row<PIXELS>(rows, columns, r0, r1, s0, s1, x, p, q, w, S, bias, relu, y + q * pixel,
                     pixel);
  }
  if (q + 4 <= q1) {
    tile_row<4>(rows, columns, r0, r1, s0, s1, x, p, q, w, S, bias, relu, y + q * pixel, pixel);
    q += 4;
  }
  if (q + 2 <= q1) {
    tile_row<2>(rows, columns, r0, r1, s0, s1, x, p, q, w, S, bias, relu, y + q * pixel, pixel);
    q += 2;
  }
  if (q < q1) {
    tile_row<1>(rows, columns, r0, r1, s0, s1, x, p, q, w, S, bias, relu, y + q * pixel, pixel);
  }
}

static void convolve_maps(Device& device, const Axis& down, const Axis& across,
                          const DepthwiseMaps& maps) {
  const Axis rows = down, columns = across;
  const DepthwiseMaps m = maps;
  const int strip = (STRIP_CELLS + columns.count - 1) / columns.count;
  const int strips = (rows.count + strip - 1) / strip;
  int left, right;
  columns.whole(left, right);
  parallel_for(device, m.images * m.blocks * strips, [=](int task, int) {
    const int map = task / strips, block = map % m.blocks, p0 = task % strips * strip;
    const int p1 = p0 + strip < rows.count ? p0 + strip : rows.count;
    for (int p = p0; p < p1; p++) {
      int r0, r1;
      rows.met(p, r0, r1);
      for (int lane = 0; lane < BLOCK; lane += VL) {
        const float* x = m.from + map * m.from_map + lane;
        const float* w = m.w + (long)block * m.R * m.S * TAP + lane;
        const Vec bias = m.bias ? load(m.bias + block * BLOCK + lane) : Vec{};
        float* y = m.to + map * m.to_map + p * m.line + lane;
        const auto run = [&](int q, int q1, int s0, int s1) {
          tile_rows(rows, columns, r0, r1, s0, s1, x, p, q, q1, w, m.S, bias, m.relu, y, m.pixel);
        };
        for (int q = 0; q < columns.count; q++) {
          if (q == left && left < right) {
            run(left, right, 0, columns.taps);
            q = right;
            if (q == columns.count) break;
          }
          int s0, s1;
          columns.met(q, s0, s1);
          run(q, q + 1, s0, s1);
        }
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
                {f32(t.x), f32(t.w), t.b.data ? f32(t.b) : nullptr, f32(t.y), (long)H * W * BLOCK,
                 (long)P * Q * BLOCK, (long)Q * BLOCK, BLOCK, t.x.dims[0], blocks_of(t.x.dims[1]),
                 R, S, a.relu != 0});
}

// Every stride-th pixel of dx sees the same taps: a convolution of g, stride 1, for each phase.
void depthwise_conv2d_backward_data(Device& device, const depthwise_conv2d_backward_data_args& t,
                                    const DepthwiseConv2dAttrs& a) {
  const int H = t.dx.dims[2], W = t.dx.dims[3], P = t.g.dims[2], Q = t.g.dims[3];
  const int R = t.w.dims[2], S = t.w.dims[3];
  for (int y = 0; y < a.stride_h && y < H; y++) {
    const Phase down = phase_of(y, H, a.stride_h, a.pad_top, R, a.dilation_h);
    const Axis rows = {down.count, P, 1, down.shift, -down.back, down.taps, down.tap, down.step};
    for (int x = 0; x < a.stride_w && x < W; x++) {
      const Phase over = phase_of(x, W, a.stride_w, a.pad_left, S, a.dilation_w);
      const Axis columns = {over.count, Q,         1,        over.shift,
                            -over.back, over.taps, over.tap, over.step};
      convolve_maps(device, rows, columns,
                    {f32(t.g), f32(t.w), nullptr, f32(t.dx) + ((long)y * W + x) * BLOCK,
                     (long)P * Q * BLOCK, (long)H * W * BLOCK, (long)a.stride_h * W * BLOCK,
                     (long)a.stride_w * BLOCK, t.g.dims[0], blocks_of(t.g.dims[1]), R, S, false});
    }
  }
}

}  // namespace PL_ISA
}  // namespace partlens
