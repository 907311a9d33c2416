// Two micro-kernels that all matrix products share. Rows of A lie 16 floats apart inside a block of
// 16 values of k; panels of W are [k][16 columns]; so neither convolution nor FC layers copy more
// than their borders.
#pragma once
#include "vec.h"

namespace partlens {
namespace PL_ISA {

// Rows and panels of one tile: what the registers of the instruction set hold.
constexpr int TILE_ROWS = VL == 16 ? 14 : VL == 8 ? 6 : 3;
constexpr int TILE_PANELS = VL == 16 ? 2 : 1;

// C[i][16 p + j] (+)= sum_k A[i][k] W_p[k][j] for a few rows i and panels p.
struct Tile {
  const float* a;      // row i at a + 16 i
  const int* offsets;  // of each block of 16 k in a
  int full;            // blocks with 16 k
  int tail;            // blocks after them with tail_lanes k
  int tail_lanes;
  const float* w;  // 16 * 16 floats per block, tail blocks included
  long w_panel;    // floats from one panel to the next
  float* c;
  long c_row;         // floats from one row to the next
  long c_panel;       // floats from one panel to the next
  bool add;           // add to what c holds
  const float* bias;  // 16 floats per panel, or NULL
  bool relu;
};

template <int ROWS, int PANELS>
static void tile_kernel(const Tile& t) {
  constexpr int COLUMNS = PANELS * PANEL_VECTORS;
  Vec acc[ROWS][COLUMNS] = {};
  for (int b = 0; b < t.full + t.tail; b++) {
    const float* a = t.a + t.offsets[b];
    const float* w = t.w + (long)b * BLOCK * BLOCK;
    const int lanes = b < t.full ? BLOCK : t.tail_lanes;
#pragma GCC unroll 2
    for (int k = 0; k < lanes; k++, w += BLOCK) {
      Vec columns[COLUMNS];
#pragma GCC unroll 4
      for (int j = 0; j < COLUMNS; j++) {
        const float* column = w + j / PANEL_VECTORS * t.w_panel + j % PANEL_VECTORS * VL;
        columns[j] = load(column);
        if (j % PANEL_VECTORS == 0) __builtin_prefetch(column + 12 * BLOCK);
      }
#pragma GCC unroll 14
      for (int i = 0; i < ROWS; i++) {
        const float s = a[i * BLOCK + k];
#pragma GCC unroll 4
        for (int j = 0; j < COLUMNS; j++) acc[i][j] += s * columns[j];
      }
    }
  }
#pragma GCC unroll 14
  for (int i = 0; i < ROWS; i++) {
#pragma GCC unroll 4
    for (int j = 0; j < COLUMNS; j++) {
      const int lane = j % PANEL_VECTORS * VL;
      float* c = t.c + i * t.c_row + j / PANEL_VECTORS * t.c_panel + lane;
      Vec v = acc[i][j];
      if (t.add) v += load(c);
      if (t.bias) v += load(t.bias + j / PANEL_VECTORS * BLOCK + lane);
      store(c, t.relu ? positive(v) : v);
    }
  }
}

typedef void (*TileKernel)(const Tile&);

template <int PANELS>
static TileKernel tile_kernel_of(int rows) {
  static const TileKernel kernels[] = {
    tile_kernel<1, PANELS>,
    tile_kernel<2, PANELS>,
    tile_kernel<3, PANELS>,
#if PL_VL >= 8
    tile_kernel<4, PANELS>,
    tile_kernel<5, PANELS>,
    tile_kernel<6, PANELS>,
#endif
#if PL_VL >= 16
    tile_kernel<7, PANELS>,
    tile_kernel<8, PANELS>,
    tile_kernel<9, PANELS>,
    tile_kernel<10, PANELS>,
    tile_kernel<11, PANELS>,
    tile_kernel<12, PANELS>,
    tile_kernel<13, PANELS>,
    tile_kernel<14, PANELS>,
#endif
  };
  return kernels[rows - 1];
}

// The tile `t` over any number of rows, in near-equal steps.
static inline void tile_rows(Tile t, int rows, int panels) {
  const int steps = (rows + TILE_ROWS - 1) / TILE_ROWS;
  for (int step = 0, done = 0; step < steps; step++) {
    const int count = (rows - done + steps - step - 1) / (steps - step);
    (panels == 1 ? tile_kernel_of<1>(count) : tile_kernel_of<TILE_PANELS>(count))(t);
    t.a += (long)count * BLOCK;
    t.c += count * t.c_row;
    done += count;
  }
}

// Sums of outer products: G_p[i][j] (+)= sum_t X[t][i] D_p[t][j], i below 16, j below 16.
struct Outer {
  const float* x;  // x[t][16], 16 floats apart
  const float* d;  // d[t][16], 16 floats apart
  long d_panel;
  float* g;  // [16 i][16 j]
  long g_panel;
  bool add;
};

constexpr int OUTER_ROWS = VL == 16 ? 8 : VL == 8 ? 4 : 2;

// `runs` stretches of `count` consecutive t; the stretches lie x_run and d_run floats apart.
template <int PANELS>
static void outer_kernel(const Outer& t, int lanes, int runs, int count, long x_run, long d_run) {
  constexpr int COLUMNS = PANELS * PANEL_VECTORS;
  for (int i0 = 0; i0 < lanes; i0 += OUTER_ROWS) {
    Vec acc[OUTER_ROWS][COLUMNS];
    const auto cell = [&](int i, int j) {
      return t.g + (i0 + i) * BLOCK + j / PANEL_VECTORS * t.g_panel + j % PANEL_VECTORS * VL;
    };
#pragma GCC unroll 8
    for (int i = 0; i < OUTER_ROWS; i++) {
#pragma GCC unroll 4
      for (int j = 0; j < COLUMNS; j++) acc[i][j] = Vec{};
    }
    for (int run = 0; run < runs; run++) {
      const float* x = t.x + run * x_run + i0;
      const float* d = t.d + run * d_run;
      for (int step = 0; step < count; step++, x += BLOCK, d += BLOCK) {
        Vec columns[COLUMNS];
#pragma GCC unroll 4
        for (int j = 0; j < COLUMNS; j++) {
          columns[j] = load(d + j / PANEL_VECTORS * t.d_panel + j % PANEL_VECTORS * VL);
        }
#pragma GCC unroll 8
        for (int i = 0; i < OUTER_ROWS; i++) {
#pragma GCC unroll 4
          for (int j = 0; j < COLUMNS; j++) acc[i][j] += x[i] * columns[j];
        }
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < OUTER_ROWS; i++) {
#pragma GCC unroll 4
      for (int j = 0; j < COLUMNS; j++) {
        // Added at the end: sums of partial sums lose fewer digits than one long sum.
        store(cell(i, j), t.add ? load(cell(i, j)) + acc[i][j] : acc[i][j]);
      }
    }
  }
}

// Rows [N][stride] to blocks [stride / 16][N][16]: rows of one block of features 16 floats apart.
static inline void block_rows(Device& device, const float* rows, int N, int stride,
                              float* blocked) {
  parallel_for(device, stride / BLOCK, [=](int b, int) {
    for (int n = 0; n < N; n++) {
      memcpy(blocked + ((long)b * N + n) * BLOCK, rows + (long)n * stride + b * BLOCK,
             sizeof(float) * BLOCK);
    }
  });
}

}  // namespace PL_ISA
}  // namespace partlens
