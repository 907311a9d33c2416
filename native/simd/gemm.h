// Two micro-kernels that all matrix products share. Rows of A lie 16 floats apart inside a block of
// 16 values of k; panels of W are [k][16 columns]; so neither convolution nor FC layers copy more
// than their borders.
#pragma once
#include "vec.h"

namespace partlens {
namespace PL_ISA {

// Rows and panels of one tile: what the registers of the instruction set hold, 32 of AVX-512 and of
// NEON, 16 of the others.
#if PL_VL == 16
#define PL_TILE_ROWS 14
#elif PL_VL == 8
#define PL_TILE_ROWS 6
#elif defined(__aarch64__)
#define PL_TILE_ROWS 5
#else
#define PL_TILE_ROWS 3
#endif
constexpr int TILE_ROWS = PL_TILE_ROWS;
constexpr int TILE_PANELS = VL == 16 ? 2 : 1;
constexpr int WIDE_ROWS = 4;  // of a tile of a panel and a half, three vectors of 8
constexpr int LOOK = 24;      // rows of w that are asked for before they are used

// C[i][16 p + j] (+)= sum_k A[i][k] W_p[k][j] for a few rows i and panels p. The k come in blocks.
struct Tile {
  const float* a = nullptr;  // row i of block b at a + offsets[b] + i * a_row
  long a_row = BLOCK;
  const int* offsets = nullptr;
  int full = 0, lanes = BLOCK;   // blocks and the number of k in each
  int tail = 0, tail_lanes = 0;  // blocks after them, with fewer k
  const float* w = nullptr;
  long w_block = BLOCK * BLOCK;  // floats from one block to the next
  long w_panel = 0;              // floats from one panel to the next
  float* c = nullptr;
  long c_row = BLOCK;
  long c_panel = 0;
  bool add = false;             // add to what c holds
  Range range;                  // of what is stored
  bool rows_once = false;       // a comes from memory, w from the cache; a_row is 16
  const float* bias = nullptr;  // 16 floats per panel
};

// A_ROW: the distance of rows, 0 where only t.a_row knows it. ROWS_ONCE: looks ahead to the next
// rows of a, not of w. ZEROS: vectors at the end of the last panel that are 0.
template <int ROWS, int PANELS, int A_ROW, bool ROWS_ONCE, int ZEROS = 0>
static void tile_kernel(const Tile& t) {
  constexpr int COLUMNS = PANELS * PANEL_VECTORS - ZEROS;
  const long a_row = A_ROW ? A_ROW : t.a_row;
  Vec acc[ROWS][COLUMNS] = {};
  for (int b = 0; b < t.full + t.tail; b++) {
    const float* a = t.a + t.offsets[b];
    const float* w = t.w + b * t.w_block;
    const int lanes = b < t.full ? t.lanes : t.tail_lanes;
#pragma GCC unroll 2
    for (int k = 0; k < lanes; k++, w += BLOCK) {
      Vec columns[COLUMNS];
#pragma GCC unroll 4
      for (int j = 0; j < COLUMNS; j++) {
        const float* column = w + j / PANEL_VECTORS * t.w_panel + j % PANEL_VECTORS * VL;
        columns[j] = load(column);
        if (!ROWS_ONCE && j % PANEL_VECTORS == 0) __builtin_prefetch(column + LOOK * BLOCK);
      }
      if (ROWS_ONCE) __builtin_prefetch(a + (ROWS + k) * BLOCK);
#pragma GCC unroll 14
      for (int i = 0; i < ROWS; i++) {
        const float s = a[i * a_row + k];
#pragma GCC unroll 4
        for (int j = 0; j < COLUMNS; j++) acc[i][j] += s * columns[j];
      }
    }
  }
  const Vec low = Vec{} + t.range.low, high = Vec{} + t.range.high;
#pragma GCC unroll 14
  for (int i = 0; i < ROWS; i++) {
#pragma GCC unroll 4
    for (int j = 0; j < COLUMNS + ZEROS; j++) {
      const int lane = j % PANEL_VECTORS * VL;
      float* c = t.c + i * t.c_row + j / PANEL_VECTORS * t.c_panel + lane;
      if (j >= COLUMNS) {
        store(c, Vec{});
        continue;
      }
      Vec v = acc[i][j];
      if (t.add) v += load(c);
      if (t.bias) v += load(t.bias + j / PANEL_VECTORS * BLOCK + lane);
      store(c, within(v, low, high));
    }
  }
}

typedef void (*TileKernel)(const Tile&);

template <int PANELS, int A_ROW, bool ROWS_ONCE = false>
static TileKernel tile_kernel_of(int rows) {
  static const TileKernel kernels[] = {
    tile_kernel<1, PANELS, A_ROW, ROWS_ONCE>,
    tile_kernel<2, PANELS, A_ROW, ROWS_ONCE>,
    tile_kernel<3, PANELS, A_ROW, ROWS_ONCE>,
#if PL_TILE_ROWS >= 5
    tile_kernel<4, PANELS, A_ROW, ROWS_ONCE>,
    tile_kernel<5, PANELS, A_ROW, ROWS_ONCE>,
#endif
#if PL_TILE_ROWS >= 6
    tile_kernel<6, PANELS, A_ROW, ROWS_ONCE>,
#endif
#if PL_TILE_ROWS >= 14
    tile_kernel<7, PANELS, A_ROW, ROWS_ONCE>,
    tile_kernel<8, PANELS, A_ROW, ROWS_ONCE>,
    tile_kernel<9, PANELS, A_ROW, ROWS_ONCE>,
    tile_kernel<10, PANELS, A_ROW, ROWS_ONCE>,
    tile_kernel<11, PANELS, A_ROW, ROWS_ONCE>,
    tile_kernel<12, PANELS, A_ROW, ROWS_ONCE>,
    tile_kernel<13, PANELS, A_ROW, ROWS_ONCE>,
    tile_kernel<14, PANELS, A_ROW, ROWS_ONCE>,
#endif
  };
  return kernels[rows - 1];
}

template <int PANELS>
static TileKernel tile_kernel_for(const Tile& t, int rows) {
  if (t.rows_once) return tile_kernel_of<PANELS, BLOCK, true>(rows);
  return t.a_row == BLOCK ? tile_kernel_of<PANELS, BLOCK>(rows) : tile_kernel_of<PANELS, 0>(rows);
}

// The tile `t` over any number of rows, in near-equal steps of at most `most`.
template <class KernelOf>
static inline void tile_steps(Tile t, int rows, int most, KernelOf kernel_of) {
  const int steps = (rows + most - 1) / most;
  for (int step = 0, done = 0; step < steps; step++) {
    const int count = (rows - done + steps - step - 1) / (steps - step);
    kernel_of(count)(t);
    t.a += count * t.a_row;
    t.c += count * t.c_row;
    done += count;
  }
}

static inline void tile_rows(const Tile& t, int rows, int panels) {
  tile_steps(t, rows, TILE_ROWS, [&](int count) {
    return panels == 1 ? tile_kernel_for<1>(t, count) : tile_kernel_for<TILE_PANELS>(t, count);
  });
}

#if PL_VL == 8
template <int A_ROW, bool ROWS_ONCE = false>
static TileKernel wide_kernel_of(int rows) {
  static const TileKernel kernels[] = {
      tile_kernel<1, 2, A_ROW, ROWS_ONCE, 1>,
      tile_kernel<2, 2, A_ROW, ROWS_ONCE, 1>,
      tile_kernel<3, 2, A_ROW, ROWS_ONCE, 1>,
      tile_kernel<4, 2, A_ROW, ROWS_ONCE, 1>,
  };
  return kernels[rows - 1];
}
#endif

// As many panels of `columns` columns, more than 0, as one tile takes: returns how many. With
// vectors of 8 a last half panel goes with the whole one before it; alone it would keep the units
// waiting.
static inline int tile_columns(const Tile& t, int rows, int columns) {
#if PL_VL == 8
  if (columns > BLOCK && columns <= BLOCK + VL) {
    tile_steps(t, rows, WIDE_ROWS, [&](int count) {
      if (t.rows_once) return wide_kernel_of<BLOCK, true>(count);
      return t.a_row == BLOCK ? wide_kernel_of<BLOCK>(count) : wide_kernel_of<0>(count);
    });
    return 2;
  }
#endif
  const int panels = blocks_of(columns) < TILE_PANELS ? blocks_of(columns) : TILE_PANELS;
  tile_rows(t, rows, panels);
  return panels;
}

// Sums of outer products: G_p[i][j] (+)= sum_t X[t][i] D_p[t][j], j below 16.
struct Outer {
  const float* x = nullptr;  // x[t][i], x_step floats apart
  long x_step = BLOCK;
  const float* d = nullptr;  // d[t][16], 16 floats apart
  long d_panel = 0;
  float* g = nullptr;  // [i][16 j]
  long g_panel = 0;
  bool add = false;
  int runs = 1, count = 0;    // stretches of consecutive t
  long x_run = 0, d_run = 0;  // floats from one stretch to the next
};

constexpr int OUTER_ROWS = TILE_ROWS == 14 ? 8 : TILE_ROWS >= 5 ? 4 : 2;

// For i below `lanes`, rounded up to OUTER_ROWS.
template <int PANELS>
static void outer_kernel(const Outer& t, int lanes) {
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
    for (int run = 0; run < t.runs; run++) {
      const float* x = t.x + run * t.x_run + i0;
      const float* d = t.d + run * t.d_run;
      for (int step = 0; step < t.count; step++, x += t.x_step, d += BLOCK) {
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

static inline void outer_product(const Outer& t, int lanes, int panels) {
  panels == 1 ? outer_kernel<1>(t, lanes) : outer_kernel<TILE_PANELS>(t, lanes);
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
