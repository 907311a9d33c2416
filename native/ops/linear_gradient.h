// The gradients of a fully connected layer in pieces, for linear and the fused optimizer steps:
//   dw[o][f] = sum_n g[n][o] x[n][f]   in blocks of 16 features of up to TILE_PANELS panels
//   dx[n][f] = sum_o g[n][o] w[o][f]   in strips of features, stretch by stretch of outputs
#pragma once
#include "../cpu_kernels.h"
#include "../simd/gemm.h"

namespace partlens {
namespace PL_ISA {

static constexpr int STRETCH = 64;        // blocks of 16 features: x and w of a stretch stay in L2
static constexpr int OUTPUT_BLOCKS = 32;  // blocks of 16 outputs of w that are done at a time
enum { X_SLOT = 0, G_SLOT = 1, PART_SLOT = 2, TURN_SLOT = 3 };

static inline int panels_at(int panel, int panels) {
  return panels - panel < TILE_PANELS ? panels - panel : TILE_PANELS;
}

// Offsets of the blocks of a matrix in blocked rows.
static inline const int* block_offsets(int* offsets, int blocks, int N) {
  for (int b = 0; b < blocks; b++) offsets[b] = b * N * BLOCK;
  return offsets;
}

// Rows (N, F) as blocks [F/16][N][16] in a scratch slot.
struct BlockedRows {
  const float* data;
  int N, stride, blocks;

  BlockedRows(Device& device, const PlTensor& rows, int slot)
      : N(row_count(rows)), stride(row_stride(rows)), blocks(stride / BLOCK) {
    float* blocked = device.scratch(slot, (size_t)N * stride);
    block_rows(device, f32(rows), N, stride, blocked);
    data = blocked;
  }
  const float* block(int b) const { return data + (long)b * N * BLOCK; }
};

// The gradient of a block of 16 features of some panels of outputs; it lacks its target.
static inline Outer gradient_block(const BlockedRows& g, const BlockedRows& x, int panel, int b) {
  Outer outer;
  outer.d = g.block(panel);
  outer.d_panel = (long)g.N * BLOCK;
  outer.count = g.N;
  outer.x = x.block(b);
  return outer;
}

// Calls use(panel, panels, b) for every block of the weight's gradient.
template <class Use>
static void for_gradient_blocks(Device& device, const BlockedRows& g, const BlockedRows& x,
                                Use use) {
  const int stretches = (x.blocks + STRETCH - 1) / STRETCH;
  const int groups = (g.blocks + TILE_PANELS - 1) / TILE_PANELS;
  parallel_for(device, groups * stretches, [=](int task, int) {
    const int panel = task / stretches * TILE_PANELS, first = task % stretches * STRETCH;
    const int last = first + STRETCH < x.blocks ? first + STRETCH : x.blocks;
    for (int b = first; b < last; b++) use(panel, panels_at(panel, g.blocks), b);
  });
}

// Rows (N, O), in blocks [O/16][N][16 o], as panels [N/16][O][16 n] in a scratch slot; rows beyond
// N are zeros.
static inline const float* turn_rows(Device& device, const BlockedRows& rows, int slot) {
  const BlockedRows r = rows;
  float* turned = device.scratch(slot, (size_t)padded(r.N) * r.stride);
  parallel_for(device, r.blocks, [=](int b, int) {
    for (int n = 0; n < r.N; n += BLOCK) {
      alignas(64) float square[BLOCK * BLOCK];
      const int count = r.N - n < BLOCK ? r.N - n : BLOCK;
      memcpy(square, r.block(b) + n * BLOCK, sizeof(float) * count * BLOCK);
      memset(square + count * BLOCK, 0, sizeof(float) * (BLOCK - count) * BLOCK);
      transpose_block(square, turned + ((long)n * r.stride + b * BLOCK * BLOCK));
    }
  });
  return turned;
}

// Columns [16 f][16 n] of dx' to rows first..first+15 of dx, those below N.
static inline void store_turned(const float* columns, int first, int N, float* dx, long stride) {
  alignas(64) float square[BLOCK * BLOCK];
  transpose_block(columns, square);
  for (int i = 0; i < BLOCK && first + i < N; i++) {
    memcpy(dx + (first + i) * stride, square + i * BLOCK, sizeof(float) * BLOCK);
  }
}

// dx' = w' g': each task takes the w of some features, stretch by stretch of outputs, as rows of a
// product with g in panels of 16 images: w is read once, as it lies. Then it calls
// done(o, outputs, f, features), in blocks, with that part of w, which nothing reads again.
//   one core with AVX-512: 25088->4096, N=32: 49 ms; 80 ms with 16 x 16 blocks of w turned instead
template <class Done>
static void data_gradient(Device& device, const BlockedRows& g, const float* w, const PlTensor& out,
                          Done done) {
  const int N = g.N, stride = row_stride(out), blocks = stride / BLOCK, images = blocks_of(N);
  // 128 features are 8 KB of neighbours in w; fewer where there would be too few tasks.
  const int group = blocks >= 128 ? 8 : 2;
  const int step = stride <= 1 << 21 ? OUTPUT_BLOCKS : 1;  // what 32-bit offsets reach
  const float* turned = turn_rows(device, g, TURN_SLOT);
  const long sum_size = (long)group * BLOCK * BLOCK;  // of 16 images
  float* sums = device.scratch(PART_SLOT, device.threads() * images * sum_size);
  float* dx = f32(out);
  parallel_for(device, (blocks + group - 1) / group, [=](int task, int worker) {
    const int first = task * group, count = blocks - first < group ? blocks - first : group;
    float* mine = sums + worker * images * sum_size;
    int offsets[OUTPUT_BLOCKS];
    for (int b = 0; b < step; b++) offsets[b] = b * stride * BLOCK;
    Tile tile;
    tile.offsets = offsets;
    tile.w_panel = (long)g.stride * BLOCK;
    tile.c_panel = sum_size;
    tile.rows_once = true;
    for (int o = 0; o < g.blocks; o += step) {
      tile.a = w + ((long)o * stride + first * BLOCK) * BLOCK;
      tile.full = g.blocks - o < step ? g.blocks - o : step;
      tile.add = o > 0;
      for (int n = 0; n < images; n += TILE_PANELS) {
        tile.w = turned + ((long)n * g.stride + o * BLOCK) * BLOCK;
        tile.c = mine + n * sum_size;
        tile_rows(tile, count * BLOCK, panels_at(n, images));
      }
      done(o, tile.full, first, count);
    }
    for (int n = 0; n < images; n++) {
      for (int b = 0; b < count; b++) {
        store_turned(mine + n * sum_size + b * BLOCK * BLOCK, n * BLOCK, N,
                     dx + (first + b) * BLOCK, stride);
      }
    }
  });
}

}  // namespace PL_ISA
}  // namespace partlens
