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
  PRODUCT_SLOT = 7,
  PART_SLOT = 8
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
  int room;          // rows that the planes have room for
  int tiles() const { return rows * across; }
  // Odd numbers of cache lines: neither blocks of channels nor planes compete for cache sets.
  long block() const { return (long)((room * across) | 1) * BLOCK; }
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

// How the tile rows are cut into rounds. Where the transformed filters are small, each thread takes
// rounds of its own, about half as large as the filters: no plane goes from one core to another.
// Else all threads share one round at a time, as large as the filters, which every round reads.
struct TileRounds {
  int count;       // of rounds
  int rows;        // tile rows in all
  bool own;        // a round belongs to one thread
  TileRound even;  // a round with all of its rows

  TileRound round(int index) const {
    TileRound r = even;
    r.first = index * r.room;
    r.rows = rows - r.first < r.room ? rows - r.first : r.room;
    return r;
  }
};

// own_filters: floats of the transformed filters up to which a round belongs to one thread.
template <class F>
static TileRounds tile_rounds(int images, int P, int Q, int kb, int nb, long own_filters) {
  constexpr long LEAST = 1l << 17, MOST = 8l << 20;  // floats
  constexpr long LEAST_ROWS = 8;  // of a shared round: they are the tasks of the transforms
  const int across = (Q + F::OUT - 1) / F::OUT, down = (P + F::OUT - 1) / F::OUT;
  const long filters = (long)F::CELLS * kb * nb * BLOCK * BLOCK, all = (long)images * down;
  const bool own = filters <= own_filters;
  const long planes = own ? filters / 2 : filters, least = own ? 1 : LEAST_ROWS;
  const long floats = planes < LEAST ? LEAST : planes > MOST ? MOST : planes;
  const long wanted = floats / (F::CELLS * BLOCK * (kb + nb)) / across;
  const long about = wanted < least ? least : wanted;
  const long number = (all + about - 1) / about;
  const int room = (int)((all + number - 1) / number);  // near-equal rounds
  return {(int)((all + room - 1) / room), (int)all, own, {0, room, across, down, room}};
}

// Copies of the planes that for_rounds needs.
static int plane_copies(const Device& device, const TileRounds& all, int parts) {
  if (!all.own) return 1;
  return parts < device.threads() ? parts : device.threads();
}

// body(part, begin, end, copy, run) for parts of the rounds: begin..end-1, in a copy of the planes.
// run(count, task) does task(0..count-1), on the thread that owns the round or on all.
template <class Body>
static void for_rounds(Device& device, const TileRounds& all, int parts, Body body) {
  if (!all.own) {
    return body(0, 0, all.count, 0, [&device](int count, auto task) {
      parallel_for(device, count, [=](int i, int) { task(i); });
    });
  }
  const bool few = parts < device.threads();
  parallel_for(device, parts, [=](int part, int worker) {
    const int begin = (int)((long)part * all.count / parts);
    const int end = (int)((part + 1l) * all.count / parts);
    body(part, begin, end, few ? part : worker, [](int count, auto task) {
      for (int i = 0; i < count; i++) task(i);
    });
  });
}

}  // namespace PL_ISA
}  // namespace partlens
