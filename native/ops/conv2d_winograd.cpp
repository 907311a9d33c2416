// conv2d, Winograd variant of forward and backward-data: 3x3, stride 1.       [Lavin, Gray 2016]
//   in   x (N, C, H, W)  w (O, C, 3, 3)  b (O) or none                        out  y (N, O, P, Q)
//   grid rounds of tile rows, of one thread each where the filters are small (TileRounds); else
//        transforms: one task per tile row; products: one task per cell and 128 filters
//   tile 4x4 outputs, 2x2 where the device's accuracy is high; 14 tiles by 32 filters in registers
//        (AVX-512)
//   cost 36/16 multiply-adds per output, channel and filter instead of 9, with high accuracy 16/4;
//        filters take 4 times their memory once per call, with high accuracy 16/9
//   largest error for 256 channels, of the largest output: 3e-6, with high accuracy 8e-7, direct
//        7e-7; speed in docs/cpu.md
#include "conv2d_winograd.h"

#include "../simd/winograd.h"

namespace partlens {
namespace PL_ISA {

constexpr int GROUP_PANELS = 8;         // panels of 16 filters of one task
constexpr long OWN_FILTERS = 1l << 22;  // 256 x 256; beyond there are too few rounds to share out

bool winograd_pays(const Device& device, const WinogradShape& s, int R, int S,
                   const Conv2dAttrs& a) {
  if (device.accuracy() == PL_DIRECT) return false;
  // Tiles of 4x4 outputs; with high accuracy there are four times as many, and they pay as early.
  const long tiles = (long)s.images * ((s.P + 3) / 4) * ((s.Q + 3) / 4);
  return R == 3 && S == 3 && a.stride_h * a.stride_w * a.dilation_h * a.dilation_w == 1 &&
         s.K >= 32 && s.N >= 32 && tiles >= 32 && s.P >= 3 && s.Q >= 3;
}

// Filters [N/16][K/16][9][16][16] to planes of panels [F::CELLS][N/16][K/16][16][16].
template <class F>
static float* transform_filters(Device& device, const WinogradShape& s, const float* w, bool turn) {
  const int kb = blocks_of(s.K), nb = blocks_of(s.N);
  const long cells = BLOCK * BLOCK, plane = (long)nb * kb * cells;
  float* filters = device.scratch(FILTER_SLOT, F::CELLS * plane);
  parallel_for(device, nb * kb, [=](int task, int) {
    alignas(64) float turned[TILE_TAPS * TILE_TAPS * cells];
    const int n = task / kb, k = task % kb;
    const float* taps = w + (long)task * 9 * cells;
    if (turn) {
      for (int tap = 0; tap < 9; tap++) {
        transpose_block(w + (((long)k * nb + n) * 9 + 8 - tap) * cells, turned + tap * cells);
      }
      taps = turned;
    }
    for (int i = 0; i < cells; i += VL) {
      const float* from = taps + i;
      float* to = filters + task * cells + i;
      transform_tile<typename F::Filters, TILE_TAPS, F::IN>(
          [=](int r, int c) { return load(from + (r * TILE_TAPS + c) * cells); },
          [=](int r, int c, Vec v) { store(to + (r * F::IN + c) * plane, v); });
    }
  });
  return filters;
}

// Products of tile row `row` back to outputs.
template <class F>
static void restore_row(const WinogradShape& s, const TileRound& r, int row, const float* products,
                        const float* bias, bool relu, float* y, const Epilogue& epilogue) {
  const int image = (r.first + row) / r.down, p0 = (r.first + row) % r.down * F::OUT;
  const int nb = blocks_of(s.N), rows = s.P - p0 < F::OUT ? s.P - p0 : F::OUT;
  const long plane = r.plane(nb);
  for (int block = 0; block < nb; block++) {
    float* map = y + (((long)image * nb + block) * s.P + p0) * s.Q * BLOCK;
    for (int lane = 0; lane < BLOCK; lane += VL) {
      const Vec shift = bias ? load(bias + block * BLOCK + lane) : Vec{};
      for (int across = 0; across < r.across; across++) {
        const int q0 = across * F::OUT, columns = s.Q - q0 < F::OUT ? s.Q - q0 : F::OUT;
        const float* from =
            products + block * r.block() + ((long)row * r.across + across) * BLOCK + lane;
        float* to = map + q0 * BLOCK + lane;
        transform_tile<typename F::Outputs, F::IN, F::OUT>(
            [=](int i, int j) { return load(from + (i * F::IN + j) * plane); },
            [=](int i, int j, Vec v) {
              if (i >= rows || j >= columns) return;
              v += shift;
              store(to + ((long)i * s.Q + j) * BLOCK, relu ? positive(v) : v);
            });
      }
    }
    epilogue.end(map, (long)rows * s.Q * BLOCK);
  }
}

template <class F>
static void convolve(Device& device, const WinogradShape& s, const float* x, const float* w,
                     bool turn, const float* bias, bool relu, float* y, const Epilogue& epilogue) {
  const Epilogue e = epilogue;
  const int kb = blocks_of(s.K), nb = blocks_of(s.N), tail_lanes = s.K % BLOCK;
  const float* filters = transform_filters<F>(device, s, w, turn);
  const TileRounds rounds = tile_rounds<F>(s.images, s.P, s.Q, kb, nb, OWN_FILTERS);
  const long input_floats = F::CELLS * rounds.even.plane(kb);
  const long product_floats = F::CELLS * rounds.even.plane(nb);
  const int copies = plane_copies(device, rounds, rounds.count);
  float* all_inputs = device.scratch(INPUT_SLOT, copies * input_floats);
  float* all_products = device.scratch(PRODUCT_SLOT, copies * product_floats);
  int* offsets = reinterpret_cast<int*>(device.scratch(OFFSET_SLOT, kb));
  for (int k = 0; k < kb; k++) offsets[k] = (int)(k * rounds.even.block());
  const TileSource source = {x, kb, s.H, s.W, s.top, s.left};
  const int groups = (nb + GROUP_PANELS - 1) / GROUP_PANELS;
  for_rounds(device, rounds, rounds.count, [=](int, int begin, int end, int copy, auto run) {
    float* inputs = all_inputs + copy * input_floats;
    float* products = all_products + copy * product_floats;
    for (int index = begin; index < end; index++) {
      const TileRound round = rounds.round(index);
      run(round.rows, [=](int row) {
        transform_row<F, typename F::Inputs, F::IN>(source, round, row, inputs);
      });
      run(F::CELLS * groups, [=](int task) {
        const int cell = task / groups, first = task % groups * GROUP_PANELS;
        const int last = first + GROUP_PANELS < nb ? first + GROUP_PANELS : nb;
        Tile tile;
        tile.a = inputs + cell * round.plane(kb);
        tile.offsets = offsets;
        tile.tail = tail_lanes ? 1 : 0;
        tile.full = kb - tile.tail;
        tile.tail_lanes = tail_lanes;
        tile.w_panel = (long)kb * BLOCK * BLOCK;
        tile.c_panel = round.block();
        for (int panel = first; panel < last; panel += TILE_PANELS) {
          tile.w = filters + ((long)cell * nb + panel) * tile.w_panel;
          tile.c = products + cell * round.plane(nb) + panel * tile.c_panel;
          tile_rows(tile, round.tiles(), last - panel < TILE_PANELS ? last - panel : TILE_PANELS);
        }
      });
      run(round.rows, [=](int row) { restore_row<F>(s, round, row, products, bias, relu, y, e); });
    }
  });
}

void winograd_convolve(Device& device, const WinogradShape& shape, const float* x, const float* w,
                       bool turn, const float* bias, bool relu, float* y,
                       const Epilogue& epilogue) {
  const auto run = device.accuracy() == PL_HIGH ? convolve<Winograd2> : convolve<Winograd4>;
  run(device, shape, x, w, turn, bias, relu, y, epilogue);
}

}  // namespace PL_ISA
}  // namespace partlens
