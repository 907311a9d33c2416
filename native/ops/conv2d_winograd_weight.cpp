// conv2d, Winograd variant of backward-weight: 3x3, stride 1; the exact adjoint of the forward
// variant with respect to the filters.                                         [Lavin, Gray 2016]
//   in   x (N, C, H, W)  g (N, O, P, Q)                                       out  dw (O, C, 3, 3)
//   grid rounds of tile rows; transforms: one task per tile row; outer products: one task per cell
//        of the transform and 128 filters
//   tile 8 channels by 32 filters in registers (AVX-512), summed over the tiles in order
//   cost 36/16 multiply-adds per output, channel and filter instead of 9, with high accuracy 16/4
//   one core with AVX-512: 256x14x14, N=32: 18 ms, with high accuracy 23 ms, direct 40 ms; 1.8
//   times
//        PyTorch 1.13
#include "conv2d_winograd.h"

#include "../simd/winograd.h"

namespace partlens {
namespace PL_ISA {

constexpr int GROUP_PANELS = 8;
constexpr int STRETCH_TILES = 192;  // the gradients of 32 filters stay in L1

// Sums [F::CELLS][N/16][K/16][16][16] to dw [N/16][K/16][9][16][16].
template <class F>
static void restore_filters(Device& device, int blocks, const float* sums, float* dw) {
  const long cells = BLOCK * BLOCK, plane = blocks * cells;
  parallel_for(device, blocks, [=](int task, int) {
    for (int i = 0; i < cells; i += VL) {
      const float* from = sums + task * cells + i;
      float* to = dw + (long)task * TILE_TAPS * TILE_TAPS * cells + i;
      transform_tile<typename F::FilterGradients, F::IN, TILE_TAPS>(
          [=](int r, int c) { return load(from + (r * F::IN + c) * plane); },
          [=](int r, int c, Vec v) { store(to + (r * TILE_TAPS + c) * cells, v); });
    }
  });
}

template <class F>
static void backward_weight(Device& device, const WinogradShape& s, const float* x, const float* g,
                            float* dw) {
  const int kb = blocks_of(s.K), nb = blocks_of(s.N);
  TileRound r = tile_round<F>(s.images, s.P, s.Q, kb, nb);
  const int all = s.images * r.down, step = r.rows;
  float* inputs = device.scratch(INPUT_SLOT, F::CELLS * r.plane(kb));
  float* gradients = device.scratch(PRODUCT_SLOT, F::CELLS * r.plane(nb));
  float* sums = device.scratch(FILTER_SLOT, (size_t)F::CELLS * nb * kb * BLOCK * BLOCK);
  const TileSource x_source = {x, kb, s.H, s.W, s.top, s.left};
  const TileSource g_source = {g, nb, s.P, s.Q, 0, 0};
  const int groups = (nb + GROUP_PANELS - 1) / GROUP_PANELS;
  for (; r.first < all; r.first += step) {
    r.rows = all - r.first < step ? all - r.first : step;
    const TileRound round = r;
    parallel_for(device, 2 * round.rows, [=](int task, int) {
      if (task % 2 == 0)
        transform_row<F, typename F::Inputs, F::IN>(x_source, round, task / 2, inputs);
      else
        transform_row<F, typename F::OutputGradients, F::OUT>(g_source, round, task / 2, gradients);
    });
    parallel_for(device, F::CELLS * groups, [=](int task, int) {
      const int cell = task / groups, first = task % groups * GROUP_PANELS;
      const int last = first + GROUP_PANELS < nb ? first + GROUP_PANELS : nb;
      Outer outer;
      outer.d_panel = round.block();
      outer.g_panel = (long)kb * BLOCK * BLOCK;
      for (int t = 0; t < round.tiles(); t += STRETCH_TILES) {
        outer.count = round.tiles() - t < STRETCH_TILES ? round.tiles() - t : STRETCH_TILES;
        outer.add = round.first + t > 0;
        for (int panel = first; panel < last; panel += TILE_PANELS) {
          const long at = (long)cell * nb + panel;
          outer.d = gradients + cell * round.plane(nb) + panel * round.block() + (long)t * BLOCK;
          for (int k = 0; k < kb; k++) {
            outer.x = inputs + cell * round.plane(kb) + k * round.block() + (long)t * BLOCK;
            outer.g = sums + at * outer.g_panel + (long)k * BLOCK * BLOCK;
            outer_product(outer, BLOCK, last - panel < TILE_PANELS ? last - panel : TILE_PANELS);
          }
        }
      }
    });
  }
  restore_filters<F>(device, nb * kb, sums, dw);
}

void winograd_backward_weight(Device& device, const WinogradShape& shape, const float* x,
                              const float* g, float* dw) {
  const bool high = device.accuracy() == PL_HIGH;
  const auto run = high ? backward_weight<Winograd2> : backward_weight<Winograd4>;
  run(device, shape, x, g, dw);
}

}  // namespace PL_ISA
}  // namespace partlens
