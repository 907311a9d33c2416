// The weight gradient of a fully connected layer, dw[o][f] = sum_n g[n][o] x[n][f], in blocks of 16
// features of up to TILE_PANELS panels, for linear_backward_weight and the fused optimizer steps.
#pragma once
#include "../cpu_kernels.h"
#include "../simd/gemm.h"

namespace partlens {
namespace PL_ISA {

static constexpr int STRETCH = 64;  // blocks of 16 features: x and w of a stretch stay in L2
enum { X_SLOT = 0, G_SLOT = 1, PART_SLOT = 2, TURN_SLOT = 3 };

static inline int panels_at(int panel, int panels) {
  return panels - panel < TILE_PANELS ? panels - panel : TILE_PANELS;
}

// Calls use(outer, at, panels) for every block: `outer` lacks its target, `at` is the block's place
// in the first of its panels, which lie row_stride(x) * 16 apart in a weight.
template <class Use>
static void for_gradient_blocks(Device& device, const PlTensor& g_rows, const PlTensor& x_rows,
                                Use use) {
  const int N = row_count(g_rows), out = row_stride(g_rows), stride = row_stride(x_rows);
  const int blocks = stride / BLOCK, panels = out / BLOCK;
  float* x = device.scratch(X_SLOT, (size_t)N * stride);
  float* g = device.scratch(G_SLOT, (size_t)N * out);
  block_rows(device, f32(x_rows), N, stride, x);
  block_rows(device, f32(g_rows), N, out, g);
  const int stretches = (blocks + STRETCH - 1) / STRETCH;
  const int groups = (panels + TILE_PANELS - 1) / TILE_PANELS;
  parallel_for(device, groups * stretches, [=](int task, int) {
    const int panel = task / stretches * TILE_PANELS, first = task % stretches * STRETCH;
    const int last = first + STRETCH < blocks ? first + STRETCH : blocks;
    Outer outer;
    outer.d = g + (long)panel * N * BLOCK;
    outer.d_panel = (long)N * BLOCK;
    outer.count = N;
    for (int b = first; b < last; b++) {
      outer.x = x + (long)b * N * BLOCK;
      use(outer, ((long)panel * stride + b * BLOCK) * BLOCK, panels_at(panel, panels));
    }
  });
}

}  // namespace PL_ISA
}  // namespace partlens
