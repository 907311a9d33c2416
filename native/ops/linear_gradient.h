// The gradients of a fully connected layer in pieces, for linear and the fused optimizer steps:
//   dw[o][f] = sum_n g[n][o] x[n][f]   in blocks of 16 features of up to TILE_PANELS panels
//   dx[n][f] = sum_o g[n][o] w[o][f]   in strips of features, stretch by stretch of outputs
#pragma once
#include "../cpu_kernels.h"
#include "../simd/gemm.h"

namespace partlens {
namespace PL_ISA {

static constexpr int STRETCH = 64;      // blocks of 16 features: x and w of a stretch stay in L2
static constexpr int TURN_BLOCKS = 32;  // blocks of 16 outputs that are turned at a time
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

// dx = g w: each task turns the w of some features and a stretch of outputs into panels [o][f],
// which stay in L2, and adds their products to dx; then it calls done(o, outputs, f, features), in
// blocks, with that part of w, which nothing reads again.
template <class Done>
static void data_gradient(Device& device, const BlockedRows& g, const float* w, const PlTensor& out,
                          Done done) {
  const int N = g.N, stride = row_stride(out), panels = stride / BLOCK;
  // 128 features are 8 KB of neighbours in w; fewer where there would be too few tasks.
  const int group = panels >= 128 ? 8 : TILE_PANELS;
  const long panel_size = (long)TURN_BLOCKS * BLOCK * BLOCK;
  float* turned = device.scratch(TURN_SLOT, device.threads() * group * panel_size);
  int* offsets = reinterpret_cast<int*>(device.scratch(PART_SLOT, TURN_BLOCKS));
  block_offsets(offsets, TURN_BLOCKS, N);
  float* dx = f32(out);
  parallel_for(device, (panels + group - 1) / group, [=](int task, int worker) {
    const int first = task * group, last = first + group < panels ? first + group : panels;
    float* mine = turned + worker * group * panel_size;
    Tile tile;
    tile.offsets = offsets;
    tile.w_panel = panel_size;
    tile.c_row = stride;
    tile.c_panel = BLOCK;
    for (int o = 0; o < g.blocks; o += TURN_BLOCKS) {
      tile.a = g.block(o);
      tile.full = g.blocks - o < TURN_BLOCKS ? g.blocks - o : TURN_BLOCKS;
      tile.add = o > 0;
      for (int b = 0; b < tile.full; b++) {
        const float* row = w + ((long)(o + b) * stride + first * BLOCK) * BLOCK;
        for (int p = 0; p < last - first; p++) {
          const long block = (long)p * BLOCK * BLOCK;
          transpose_block(row + block, mine + p * panel_size + (long)b * BLOCK * BLOCK);
        }
      }
      for (int panel = first; panel < last; panel += TILE_PANELS) {
        tile.w = mine + (panel - first) * panel_size;
        tile.c = dx + panel * BLOCK;
        tile_rows(tile, N, panels_at(panel, last));
      }
      done(o, tile.full, first, last - first);
    }
  });
}

}  // namespace PL_ISA
}  // namespace partlens
