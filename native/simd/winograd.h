// Winograd convolution F(4x4, 3x3): a tile of 4x4 outputs from 6x6 inputs with 36 instead of 144
// products. Both sides are taken to 36 values per tile, multiplied there as 36 matrix products over
// channels, and taken back:  y = A' ((G w G') * (B' x B)) A.          [Lavin, Gray 2016]
// The points are 0, +-5/8, +-3/2 and infinity: every constant of A and B is exact in float32 and
// the error is half of that of the usual 0, +-1, +-2.
#pragma once
#include "gemm.h"

namespace partlens {
namespace PL_ISA {

constexpr int TILE_OUT = 4, TILE_IN = 6, TILE_TAPS = 3;
constexpr int TILE_CELLS = TILE_IN * TILE_IN;

enum {
  INPUT_SLOT = 4,
  OFFSET_SLOT = 5,
  FILTER_SLOT = 6,
  PRODUCT_SLOT = 7
};  // as the direct kernels

constexpr float POINT_A = 0.625f, POINT_B = 1.5f;
constexpr float SQUARE_A = POINT_A * POINT_A, SQUARE_B = POINT_B * POINT_B;
constexpr float SQUARE_SUM = SQUARE_A + SQUARE_B, SQUARE_PRODUCT = SQUARE_A * SQUARE_B;
// The rows of G are (1, p, p^2) times these.
constexpr float G_ZERO = (float)(1.0 / (double)SQUARE_PRODUCT);
constexpr float G_A = (float)(0.5 / ((double)SQUARE_A * ((double)SQUARE_A - (double)SQUARE_B)));
constexpr float G_B = (float)(0.5 / ((double)SQUARE_B * ((double)SQUARE_B - (double)SQUARE_A)));

#define PL_INLINE static inline __attribute__((always_inline))

// One axis of each transform. B': inputs.
struct InputTransform {
  static constexpr int IN = TILE_IN, OUT = TILE_IN;
  PL_INLINE void apply(const Vec* d, Vec* r) {
    const Vec even_a = d[4] - SQUARE_B * d[2], odd_a = POINT_A * (d[3] - SQUARE_B * d[1]);
    const Vec even_b = d[4] - SQUARE_A * d[2], odd_b = POINT_B * (d[3] - SQUARE_A * d[1]);
    r[0] = SQUARE_PRODUCT * d[0] + (d[4] - SQUARE_SUM * d[2]);
    r[1] = even_a + odd_a;
    r[2] = even_a - odd_a;
    r[3] = even_b + odd_b;
    r[4] = even_b - odd_b;
    r[5] = SQUARE_PRODUCT * d[1] + (d[5] - SQUARE_SUM * d[3]);
  }
};

// G: filters.
struct FilterTransform {
  static constexpr int IN = TILE_TAPS, OUT = TILE_IN;
  PL_INLINE void apply(const Vec* w, Vec* r) {
    const Vec even_a = G_A * (w[0] + SQUARE_A * w[2]), odd_a = (G_A * POINT_A) * w[1];
    const Vec even_b = G_B * (w[0] + SQUARE_B * w[2]), odd_b = (G_B * POINT_B) * w[1];
    r[0] = G_ZERO * w[0];
    r[1] = even_a + odd_a;
    r[2] = even_a - odd_a;
    r[3] = even_b + odd_b;
    r[4] = even_b - odd_b;
    r[5] = w[2];
  }
};

// A': products to outputs.
struct OutputTransform {
  static constexpr int IN = TILE_IN, OUT = TILE_OUT;
  PL_INLINE void apply(const Vec* m, Vec* r) {
    const Vec even_a = m[1] + m[2], odd_a = m[1] - m[2];
    const Vec even_b = m[3] + m[4], odd_b = m[3] - m[4];
    r[0] = m[0] + even_a + even_b;
    r[1] = POINT_A * odd_a + POINT_B * odd_b;
    r[2] = SQUARE_A * even_a + SQUARE_B * even_b;
    r[3] = (POINT_A * SQUARE_A) * odd_a + ((POINT_B * SQUARE_B) * odd_b + m[5]);
  }
};

// A: gradients of outputs, the transpose of OutputTransform.
struct GradientTransform {
  static constexpr int IN = TILE_OUT, OUT = TILE_IN;
  PL_INLINE void apply(const Vec* g, Vec* r) {
    const Vec even_a = g[0] + SQUARE_A * g[2], odd_a = POINT_A * (g[1] + SQUARE_A * g[3]);
    const Vec even_b = g[0] + SQUARE_B * g[2], odd_b = POINT_B * (g[1] + SQUARE_B * g[3]);
    r[0] = g[0];
    r[1] = even_a + odd_a;
    r[2] = even_a - odd_a;
    r[3] = even_b + odd_b;
    r[4] = even_b - odd_b;
    r[5] = g[3];
  }
};

// G': gradients of transformed filters, the transpose of FilterTransform.
struct FilterGradientTransform {
  static constexpr int IN = TILE_IN, OUT = TILE_TAPS;
  PL_INLINE void apply(const Vec* u, Vec* r) {
    const Vec even_a = G_A * (u[1] + u[2]), odd_a = (G_A * POINT_A) * (u[1] - u[2]);
    const Vec even_b = G_B * (u[3] + u[4]), odd_b = (G_B * POINT_B) * (u[3] - u[4]);
    r[0] = G_ZERO * u[0] + even_a + even_b;
    r[1] = odd_a + odd_b;
    r[2] = SQUARE_A * even_a + (SQUARE_B * even_b + u[5]);
  }
};

// Both axes of one tile: load(row, column) gives inputs, store(row, column, value) takes outputs.
template <class Transform, class Load, class Store>
PL_INLINE void transform_tile(Load load_at, Store store_at) {
  constexpr int IN = Transform::IN, OUT = Transform::OUT;
  Vec half[OUT][IN];
#pragma GCC unroll 6
  for (int j = 0; j < IN; j++) {
    Vec column[IN], result[OUT];
#pragma GCC unroll 6
    for (int i = 0; i < IN; i++) column[i] = load_at(i, j);
    Transform::apply(column, result);
#pragma GCC unroll 6
    for (int i = 0; i < OUT; i++) half[i][j] = result[i];
  }
#pragma GCC unroll 6
  for (int i = 0; i < OUT; i++) {
    Vec result[OUT];
    Transform::apply(half[i], result);
#pragma GCC unroll 6
    for (int j = 0; j < OUT; j++) store_at(i, j, result[j]);
  }
}

// The tiles of one round: a stretch of tile rows of all images. Matrices are kept as 36 planes of
// [blocks][tiles][16].
struct TileRound {
  int first, rows;   // tile rows, counted through all images
  int across, down;  // tiles in a row; tile rows in an image
  int tiles() const { return rows * across; }
  // Odd numbers of cache lines: neither blocks of channels nor planes compete for cache sets.
  long block() const { return (long)(tiles() | 1) * BLOCK; }
  long plane(int blocks) const { return (blocks * block() / BLOCK | 1) * BLOCK; }
};

// Maps (images, blocks, H, W, 16) whose tiles start `top`, `left` before their origin.
struct TileSource {
  const float* maps;
  int blocks, H, W, top, left;
};

// Transforms tile row `row` of the round, all blocks of channels, into the planes.
template <class Transform>
static void transform_row(const TileSource& s, const TileRound& r, int row, float* planes) {
  constexpr int SIDE = Transform::IN;
  const int image = (r.first + row) / r.down, down = (r.first + row) % r.down;
  const int y0 = down * TILE_OUT - s.top;
  const long plane = r.plane(s.blocks);
  alignas(64) float edge[SIDE * SIDE * BLOCK];
  for (int block = 0; block < s.blocks; block++) {
    const float* map = s.maps + ((long)image * s.blocks + block) * s.H * s.W * BLOCK;
    for (int across = 0; across < r.across; across++) {
      const int x0 = across * TILE_OUT - s.left;
      const float* from = map + ((long)y0 * s.W + x0) * BLOCK;
      long line = (long)s.W * BLOCK;
      if (y0 < 0 || x0 < 0 || y0 + SIDE > s.H || x0 + SIDE > s.W) {  // zeros beyond the border
        const int left = x0 < 0 ? -x0 : 0, right = x0 + SIDE > s.W ? s.W - x0 : SIDE;
        memset(edge, 0, sizeof edge);
        for (int i = 0; i < SIDE; i++) {
          if (y0 + i < 0 || y0 + i >= s.H || left >= right) continue;
          memcpy(edge + (i * SIDE + left) * BLOCK, map + ((long)(y0 + i) * s.W + x0 + left) * BLOCK,
                 sizeof(float) * (right - left) * BLOCK);
        }
        from = edge;
        line = SIDE * BLOCK;
      }
      float* to = planes + block * r.block() + ((long)row * r.across + across) * BLOCK;
      for (int lane = 0; lane < BLOCK; lane += VL) {
        transform_tile<Transform>(
            [=](int i, int j) { return load(from + i * line + j * BLOCK + lane); },
            [=](int i, int j, Vec v) { store(to + (i * TILE_IN + j) * plane + lane, v); });
      }
    }
  }
}

// Rows of tiles of a round so that its planes take about `floats`, at least one row.
static inline TileRound tile_round(int images, int P, int Q, long floats, int blocks) {
  TileRound r = {0, 0, (Q + TILE_OUT - 1) / TILE_OUT, (P + TILE_OUT - 1) / TILE_OUT};
  const long all = (long)images * r.down, wanted = floats / (TILE_CELLS * BLOCK * blocks);
  const long rows = wanted / r.across;
  const long rounds = rows < 1 ? all : (all + rows - 1) / rows;
  r.rows = (int)((all + rounds - 1) / rounds);  // near-equal rounds
  return r;
}

}  // namespace PL_ISA
}  // namespace partlens
