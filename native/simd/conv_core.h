// Convolution as an implicit matrix product: each tap of the window is an offset into a padded copy
// of the maps. Forward and backward-data share it.
#pragma once
#include "gemm.h"

namespace partlens {
namespace PL_ISA {

// A copy of maps with borders, in which the taps of a window are constant offsets: row y, column x
// of the copy lies at (y * width + x % stride * phase + x / stride) * 16, so that the pixels that a
// row of outputs reads for one tap are neighbours for any stride.
struct Padded {
  int height, width;  // of the copy; width is phase * stride
  int stride, phase;
  int top, left;  // where pixel (0, 0) goes; may be negative
  int dilation;   // distance between pixels, 1: a copy, more: zeros between

  long map_size() const { return (long)height * width * BLOCK; }
  long offset(int y, int x) const {
    return ((long)y * width + x % stride * phase + x / stride) * BLOCK;
  }
};

static inline Padded padded_for(int rows, int columns, int stride, int top, int left,
                                int dilation) {
  const int phase = (columns + stride - 1) / stride;
  return {rows, phase * stride, stride, phase, top, left, dilation};
}

// Copies one block of 16 maps (H, W) into its place.
static void pad_block(const float* map, int H, int W, const Padded& p, float* copy) {
  memset(copy, 0, sizeof(float) * p.map_size());
  for (int y = 0; y < H; y++) {
    const int row = y * p.dilation + p.top;
    if (row < 0 || row >= p.height) continue;
    for (int x = 0; x < W; x++) {
      const int column = x * p.dilation + p.left;
      if (column < 0 || column >= p.width) continue;
      memcpy(copy + p.offset(row, column), map + ((long)y * W + x) * BLOCK, sizeof(float) * BLOCK);
    }
  }
}

struct ConvShape {
  int images;
  int K, H, W;  // channels and size of the maps that are read
  int N, P, Q;  // channels and size of the maps that are written
  int R, S;
  int stride_h;
};

enum { PAD_SLOT = 4, OFFSET_SLOT = 5, WEIGHT_SLOT = 6, GRADIENT_SLOT = 7 };
constexpr long COPY_FLOATS = 8l << 20;  // the padded copies of a round stay near the cache

// y (images, N, P, Q) = x (images, K, H, W) * w, panels [N/16][K/16][R][S][16][16].
static void convolve(Device& device, const ConvShape& s, const Padded& p, const float* x,
                     const float* w, const float* bias, bool relu, float* y) {
  const int kb = blocks_of(s.K), panels = blocks_of(s.N), taps = s.R * s.S;
  const int tail_lanes = s.K % BLOCK, tail = tail_lanes ? taps : 0, full = kb * taps - tail;
  int* offsets = reinterpret_cast<int*>(device.scratch(OFFSET_SLOT, (size_t)kb * taps));
  for (int b = 0; b < kb * taps; b++) {
    const int tap = b % taps;
    offsets[b] = (int)(b / taps * p.map_size() + p.offset(tap / s.S, tap % s.S));
  }
  const long image = kb * p.map_size(), out_map = (long)s.P * s.Q * BLOCK;
  long round = COPY_FLOATS / image;
  round = round < 1 ? 1 : round > s.images ? s.images : round;
  float* copy = device.scratch(PAD_SLOT, round * image);
  const int groups = (panels + TILE_PANELS - 1) / TILE_PANELS;
  // Rows of a task: a whole small map, or a strip of a large one.
  const int strip = s.P * s.Q <= 1024 ? s.P : (1024 + s.Q - 1) / s.Q;
  const int strips = (s.P + strip - 1) / strip;
  const int step = 4 * taps;  // 64 channels at a time: their weights stay in L2
  const ConvShape shape = s;
  const Padded pad = p;
  for (int first = 0; first < s.images; first += (int)round) {
    const int count = s.images - first < round ? s.images - first : (int)round;
    parallel_for(device, count * kb, [=](int i, int) {
      pad_block(x + ((long)first * kb + i) * shape.H * shape.W * BLOCK, shape.H, shape.W, pad,
                copy + i * pad.map_size());
    });
    parallel_for(device, groups * count * strips, [=](int task, int) {
      const int panel = task / (count * strips) * TILE_PANELS;
      const int n = task / strips % count, p0 = task % strips * strip;
      const int p1 = p0 + strip < shape.P ? p0 + strip : shape.P;
      const int wide = panels - panel < TILE_PANELS ? panels - panel : TILE_PANELS;
      for (int b = 0; b < full + tail; b += step) {
        const int blocks = full + tail - b < step ? full + tail - b : step;
        const int whole = full - b < blocks ? (full > b ? full - b : 0) : blocks;
        const bool end = b + blocks == full + tail;
        Tile tile = {nullptr,
                     offsets + b,
                     whole,
                     blocks - whole,
                     tail_lanes,
                     w + ((long)panel * kb * taps + b) * BLOCK * BLOCK,
                     (long)kb * taps * BLOCK * BLOCK,
                     nullptr,
                     BLOCK,
                     out_map,
                     b > 0,
                     end && bias ? bias + panel * BLOCK : nullptr,
                     end && relu};
        for (int row = p0; row < p1; row++) {
          tile.a = copy + n * image + (long)row * shape.stride_h * pad.width * BLOCK;
          tile.c = y + ((long)(first + n) * panels + panel) * out_map + (long)row * shape.Q * BLOCK;
          tile_rows(tile, shape.Q, wide);
        }
      }
    });
  }
}

}  // namespace PL_ISA
}  // namespace partlens
