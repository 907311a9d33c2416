// conv2d, Winograd variant of backward-weight: 3x3, stride 1; the exact adjoint of the forward
// variant with respect to the filters.                                         [Lavin, Gray 2016]
//   in   x (N, C, H, W)  g (N, O, P, Q)                                       out  dw (O, C, 3, 3)
//   grid rounds of tile rows, of one thread each where the filters are small (TileRounds): up to 8
//        parts, added in order; else transforms: one task per tile row; outer products: one task
//        per cell and 128 filters
//   tile 8 channels by 32 filters in registers (AVX-512), summed over the tiles in order
//   cost 36/16 multiply-adds per output, channel and filter instead of 9, with high accuracy 16/4;
//        measured in docs/cpu.md
#include "conv2d_winograd.h"

#include "../simd/winograd.h"

namespace partlens {
namespace PL_ISA {

constexpr int GROUP_PANELS = 8;
constexpr int STRETCH_TILES = 192;      // the gradients of 32 filters stay in L1
constexpr long OWN_FILTERS = 1l << 19;  // a thread sums its rounds in memory as large as these
constexpr int MOST_PARTS = 8;  // each is summed by one thread; never by the number of threads

// Sums [F::CELLS][N/16][K/16][16][16] to dw [N/16][K/16][9][16][16]; run as that of for_rounds.
template <class F, class Run>
static void restore_filters(int blocks, const float* sums, float* dw, Run run) {
  const long cells = BLOCK * BLOCK, plane = blocks * cells;
  run(blocks, [=](int task) {
    for (int i = 0; i < cells; i += VL) {
      const float* from = sums + task * cells + i;
      float* to = dw + (long)task * TILE_TAPS * TILE_TAPS * cells + i;
      transform_tile<typename F::FilterGradients, F::IN, TILE_TAPS>(
          [=](int r, int c) { return load(from + (r * F::IN + c) * plane); },
          [=](int r, int c, Vec v) { store(to + (r * TILE_TAPS + c) * cells, v); });
    }
  });
}

// dw = the sum of the parts, in order.
static void add_parts(Device& device, int parts, long floats, const float* all, float* dw) {
  parallel_for(device, (int)(floats / (BLOCK * BLOCK)), [=](int task, int) {
    const long begin = (long)task * BLOCK * BLOCK;
    for (long i = begin; i < begin + BLOCK * BLOCK; i += VL) {
      Vec sum = load(all + i);
      for (int part = 1; part < parts; part++) sum += load(all + part * floats + i);
      store(dw + i, sum);
    }
  });
}

template <class F>
static void backward_weight(Device& device, const WinogradShape& s, const float* x, const float* g,
                            float* dw) {
  const int kb = blocks_of(s.K), nb = blocks_of(s.N);
  const TileRounds rounds = tile_rounds<F>(s.images, s.P, s.Q, kb, nb, OWN_FILTERS);
  const int parts = !rounds.own ? 1 : rounds.count < MOST_PARTS ? rounds.count : MOST_PARTS;
  const int copies = plane_copies(device, rounds, parts);
  const long input_floats = F::CELLS * rounds.even.plane(kb);
  const long gradient_floats = F::CELLS * rounds.even.plane(nb);
  const long dw_floats = (long)nb * kb * TILE_TAPS * TILE_TAPS * BLOCK * BLOCK;
  const long sum_floats = (long)F::CELLS * nb * kb * BLOCK * BLOCK;
  float* all_inputs = device.scratch(INPUT_SLOT, copies * input_floats);
  float* all_gradients = device.scratch(PRODUCT_SLOT, copies * gradient_floats);
  float* all_sums = device.scratch(FILTER_SLOT, copies * sum_floats);
  float* all_dw = parts == 1 ? dw : device.scratch(PART_SLOT, parts * dw_floats);
  const TileSource x_source = {x, kb, s.H, s.W, s.top, s.left};
  const TileSource g_source = {g, nb, s.P, s.Q, 0, 0};
  const int groups = (nb + GROUP_PANELS - 1) / GROUP_PANELS;
  for_rounds(device, rounds, parts, [=](int part, int begin, int end, int copy, auto run) {
    float* inputs = all_inputs + copy * input_floats;
    float* gradients = all_gradients + copy * gradient_floats;
    float* sums = all_sums + copy * sum_floats;
    for (int index = begin; index < end; index++) {
      const TileRound round = rounds.round(index);
      run(2 * round.rows, [=](int task) {
        const int row = task / 2;
        if (task % 2 == 0)
          transform_row<F, typename F::Inputs, F::IN>(x_source, round, row, inputs);
        else
          transform_row<F, typename F::OutputGradients, F::OUT>(g_source, round, row, gradients);
      });
      run(F::CELLS * groups, [=](int task) {
        const int cell = task / groups, first = task % groups * GROUP_PANELS;
        const int last = first + GROUP_PANELS < nb ? first + GROUP_PANELS : nb;
        Outer outer;
        outer.d_panel = round.block();
        outer.g_panel = (long)kb * BLOCK * BLOCK;
        for (int t = 0; t < round.tiles(); t += STRETCH_TILES) {
          outer.count = round.tiles() - t < STRETCH_TILES ? round.tiles() - t : STRETCH_TILES;
          outer.add = index > begin || t > 0;
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
    restore_filters<F>(nb * kb, sums, all_dw + part * dw_floats, run);
  });
  if (parts > 1) add_parts(device, parts, dw_floats, all_dw, dw);
}

void winograd_backward_weight(Device& device, const WinogradShape& shape, const float* x,
                              const float* g, float* dw) {
  const bool high = device.accuracy() == PL_HIGH;
  const auto run = high ? backward_weight<Winograd2> : backward_weight<Winograd4>;
  run(device, shape, x, g, dw);
}

}  // namespace PL_ISA
}  // namespace partlens
