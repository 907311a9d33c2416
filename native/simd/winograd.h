// Winograd convolution: a tile of outputs takes fewer products than its windows have. Both sides
// are taken to F::CELLS values per tile, multiplied there as so many matrix products over channels,
// and taken back:  y = A' ((G w G') * (B' x B)) A.                                  [Lavin, Gray
// 2016] F is Winograd4 or Winograd2.
#pragma once
#include "gemm.h"
#include "winograd_transforms.h"

namespace partlens {
namespace PL_ISA {

enum {
  INPUT_SLOT = 4,
  OFFSET_SLOT = 5,
  FILTER_SLOT = 6,
  PRODUCT_SLOT = 7
};  // as the direct kernels

// Both axes of a tile of IN x IN values: load_at(row, column) gives them, store_at(row, column,
// value) takes the OUT x OUT results.
template <class Transform, int IN, int OUT, class Load, class Store>
PL_INLINE void transform_tile(Load load_at, Store store_at) {
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

// The tiles of one round: a stretch of tile rows of all images. Matrices are kept as F::CELLS
// planes of [blocks][tiles][16].
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

// Transforms tile row `row` of the round, all blocks of channels, into the planes: SIDE x SIDE
// values of each tile.
template <class F, class Transform, int SIDE>
static void transform_row(const TileSource& s, const TileRound& r, int row, float* planes) {
  const int image = (r.first + row) / r.down, down = (r.first + row) % r.down;
  const int y0 = down * F::OUT - s.top;
  const long plane = r.plane(s.blocks);
  alignas(64) float edge[SIDE * SIDE * BLOCK];
  for (int block = 0; block < s.blocks; block++) {
    const float* map = s.maps + ((long)image * s.blocks + block) * s.H * s.W * BLOCK;
    for (int across = 0; across < r.across; across++) {
      const int x0 = across * F::OUT - s.left;
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
        transform_tile<Transform, SIDE, F::IN>(
            [=](int i, int j) { return load(from + i * line + j * BLOCK + lane); },
            [=](int i, int j, Vec v) { store(to + (i * F::IN + j) * plane + lane, v); });
      }
    }
  }
}

// Floats of the planes of one round: about as many as the transformed filters have, which every
// round reads too; small enough for the caches, large enough to be worth a round.
template <class F>
static long round_floats(int kb, int nb) {
  constexpr long LEAST = 1l << 19, MOST = 8l << 20;
  const long filters = (long)F::CELLS * kb * nb * BLOCK * BLOCK;
  return filters < LEAST ? LEAST : filters > MOST ? MOST : filters;
}

// Rows of tiles of a round, from blocks of channels on both sides.
template <class F>
static TileRound tile_round(int images, int P, int Q, int kb, int nb) {
  constexpr long LEAST_ROWS = 8;  // they are the tasks of the transforms
  TileRound r = {0, 0, (Q + F::OUT - 1) / F::OUT, (P + F::OUT - 1) / F::OUT};
  const long all = (long)images * r.down;
  const long wanted = round_floats<F>(kb, nb) / (F::CELLS * BLOCK * (kb + nb)) / r.across;
  const long rows = wanted < LEAST_ROWS ? LEAST_ROWS : wanted;
  const long rounds = (all + rows - 1) / rows;
  r.rows = (int)((all + rounds - 1) / rounds);  // near-equal rounds
  return r;
}

}  // namespace PL_ISA
}  // namespace partlens
