// linear_adam_step, linear_sgd_step: the optimizer's step on the weight of a fully connected layer,
// with dw = g^T x, which never reaches memory, and on request dx = g w from the weight before the
// step.
//   in   g (N, O)  x (N, F)  w, m, v (O, F)  hyper (3)
//   out  w_out, m_out, v_out in the memory of w, m, v   dx (N, F) or none
//   grid without dx 128 x 128 tiles of w; with dx a strip of 64 features of w and a stretch of its
//        outputs, 32 at a time
//   smem a strip of x; twice a tile of w, m, v and of g: 48 KB (SGD, N = 32) to 80 KB (Adam,
//        N = 64)
//   cost memory bound: reads and writes each of w, m, v once: five words per parameter with SGD,
//        seven with Adam, where separate calls move eight or ten
#include "../device/conv.h"
#include "adam.h"
#include "sgd.h"

namespace partlens {
namespace cuda {

// The tensors that a step rewrites, the weight first.
struct AdamTensors {
  static constexpr int COUNT = 3;
  float* data[COUNT];
  AdamRule rule;
  __device__ void step(float grad, float (&t)[COUNT]) const { rule.step(grad, t[0], t[1], t[2]); }
};

struct SgdTensors {
  static constexpr int COUNT = 2;
  float* data[COUNT];
  SgdRule rule;
  __device__ void step(float grad, float (&t)[COUNT]) const { rule.step(grad, t[0], t[1]); }
};

// Steps two neighbours, whose values lie at from[tensor], and stores them at `at`.
template <class Tensors>
__device__ inline void step_pair(const Tensors& tensors, const float* const (&from)[Tensors::COUNT],
                                 long at, float c0, float c1) {
  float first[Tensors::COUNT], second[Tensors::COUNT];
#pragma unroll
  for (int i = 0; i < Tensors::COUNT; i++) {
    const float2 pair = *reinterpret_cast<const float2*>(from[i]);
    first[i] = pair.x;
    second[i] = pair.y;
  }
  tensors.step(c0, first);
  tensors.step(c1, second);
#pragma unroll
  for (int i = 0; i < Tensors::COUNT; i++) {
    *reinterpret_cast<float2*>(tensors.data[i] + at) = make_float2(first[i], second[i]);
  }
}

template <class Tensors>
struct StepEpilogue {
  Tensors tensors;
  long pitch;
  __device__ void operator()(int, int o, int f, float c0, float c1) const {
    const long at = o * pitch + f;
    const float* from[Tensors::COUNT];
#pragma unroll
    for (int i = 0; i < Tensors::COUNT; i++) from[i] = tensors.data[i] + at;
    step_pair(tensors, from, at, c0, c1);
  }
};

// The one pass with dx.
constexpr int PASS_O = TILE_K, PASS_F = 64, PASS_STAGES = 2, PASS_THREADS = 256;
constexpr int PASS_BATCH = 64;  // the most images: g and x of a tile stay in shared memory

struct PassSize {
  int N, O, F, pitch;  // pitch: of g
  int o_per_split;     // a multiple of PASS_O
};

// A K major tile [k][32 rows] read with its rows and k exchanged: g^T from the tile that holds g.
struct TurnedTile {
  static __device__ __forceinline__ float get(const float* s, int row, int, int chunk, int q) {
    const int k = chunk * 4 + q;
    return s[k * TILE_K + ((row / 4 ^ (k & 7)) * 4) + row % 4];
  }
};

template <int BATCH, class Tensors>
struct PassTiles {
  typedef SharedTile<true, BATCH> G;
  typedef SharedTile<false, PASS_F> W;
  static constexpr int STAGE = G::FLOATS + Tensors::COUNT * W::FLOATS;
  static constexpr int X = BATCH / TILE_K * W::FLOATS;
  static constexpr size_t BYTES = sizeof(float) * (X + PASS_STAGES * STAGE);
  static_assert(BYTES <= SHARED_LIMIT, "fits every device");
};

// partial[split][n][f] = the split's share of dx; w, m, v after the step.
template <Product P, int BATCH, class Tensors>
__global__ void __launch_bounds__(PASS_THREADS, 2)
    linear_pass_kernel(const float* g, const float* x, Tensors tensors, float* partial,
                       PassSize size) {
  typedef PassTiles<BATCH, Tensors> Tiles;
  typedef typename Tiles::G TileG;
  typedef typename Tiles::W TileW;
  constexpr int STEPS = P == Product::BF16 ? 2 : 4;
  constexpr int DX_ROWS = BATCH / 16, DX_COLUMNS = PASS_F / 8 / (PASS_THREADS / 32 / DX_ROWS);
  constexpr int DW_ROWS = PASS_O / 16, DW_COLUMNS = PASS_F / 8 / (PASS_THREADS / 32 / DW_ROWS);
  PL_DYNAMIC_SHARED(float, shared);
  const int t = threadIdx.x, warp = t / 32, lane = t % 32, row = lane / 4, q = lane % 4;
  const int f0 = blockIdx.x * PASS_F, o_begin = blockIdx.y * size.o_per_split;
  const int o_end = min(o_begin + size.o_per_split, size.O);
  const int tiles = (o_end - o_begin + PASS_O - 1) / PASS_O;

  for (int i = t; i < BATCH * PASS_F / 4; i += PASS_THREADS) {
    const int n = i / (PASS_F / 4), f = i % (PASS_F / 4) * 4;
    const bool inside = n < size.N && f0 + f < size.F;
    cp_async16(shared + n / TILE_K * TileW::FLOATS + TileW::place(f, n % TILE_K),
               inside ? x + (long)n * size.F + f0 + f : x, inside ? 16 : 0);
  }
  const auto stage_of = [&](int tile) {
    return shared + Tiles::X + tile % PASS_STAGES * Tiles::STAGE;
  };
  const auto fetch = [&](int tile) {
    float* to = stage_of(tile);
    const int o0 = o_begin + tile * PASS_O;
    for (int i = t; tile < tiles && i < TileG::CHUNKS; i += PASS_THREADS) {
      const int n = TileG::row_of(i), o = TileG::k_of(i);
      const bool inside = n < size.N && o0 + o < size.pitch;
      cp_async16(to + TileG::place(n, o), inside ? g + (long)n * size.pitch + o0 + o : g,
                 inside ? 16 : 0);
    }
    for (int k = 0; k < Tensors::COUNT; k++) {
      float* tensor = to + TileG::FLOATS + k * TileW::FLOATS;
      for (int i = t; tile < tiles && i < TileW::CHUNKS; i += PASS_THREADS) {
        const int f = TileW::row_of(i), o = TileW::k_of(i);
        const bool inside = o0 + o < size.O && f0 + f < size.F;
        const float* from = tensors.data[k];
        cp_async16(tensor + TileW::place(f, o),
                   inside ? from + (long)(o0 + o) * size.F + f0 + f : from, inside ? 16 : 0);
      }
    }
    cp_async_commit();
  };

  float dx[DX_COLUMNS][4] = {};
  const int n0 = warp % DX_ROWS * 16, column0 = warp / DX_ROWS * DX_COLUMNS * 8;
  const int row0 = warp % DW_ROWS * 16, feature0 = warp / DW_ROWS * DW_COLUMNS * 8;
  for (int tile = 0; tile < PASS_STAGES - 1; tile++) fetch(tile);
  for (int tile = 0; tile < tiles; tile++) {
    cp_async_wait<PASS_STAGES - 2>();
    __syncthreads();  // the tile is there for all; all are done with the stage that is fetched next
    fetch(tile + PASS_STAGES - 1);
    const float *tile_g = stage_of(tile), *tile_w = tile_g + TileG::FLOATS;
#pragma unroll(unrolled(P, STEPS))
    for (int step = 0; step < STEPS; step++) {  // dx += g w
      Fragment<P, 4> a;
      load_a<P, TileG>(a, tile_g, n0, step, row, q);
#pragma unroll
      for (int j = 0; j < DX_COLUMNS; j++) {
        Fragment<P, 2> b;
        load_b<P, TileW>(b, tile_w, column0 + j * 8, step, row, q);
        multiply<P>(dx[j], a, b);
      }
    }
    float dw[DW_COLUMNS][4] = {};
#pragma unroll(unrolled(P, BATCH / TILE_K * STEPS))
    for (int step = 0; step < BATCH / TILE_K * STEPS; step++) {  // dw = g^T x
      const int half = step / STEPS;
      Fragment<P, 4> a;
      load_a<P, TurnedTile>(a, tile_g + half * TILE_K * TILE_K, row0, step % STEPS, row, q);
#pragma unroll
      for (int j = 0; j < DW_COLUMNS; j++) {
        Fragment<P, 2> b;
        load_b<P, TileW>(b, shared + half * TileW::FLOATS, feature0 + j * 8, step % STEPS, row, q);
        multiply<P>(dw[j], a, b);
      }
    }
#pragma unroll
    for (int j = 0; j < DW_COLUMNS; j++) {
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const int o = row0 + half * 8 + row, f = feature0 + j * 8 + q * 2;
        const long at = (long)(o_begin + tile * PASS_O + o) * size.F + f0 + f;
        if (o_begin + tile * PASS_O + o >= size.O || f0 + f >= size.F) continue;
        const float* from[Tensors::COUNT];
        for (int k = 0; k < Tensors::COUNT; k++) {
          from[k] = tile_w + k * TileW::FLOATS + TileW::place(f, o);
        }
        step_pair(tensors, from, at, dw[j][half * 2], dw[j][half * 2 + 1]);
      }
    }
  }
  cp_async_wait<0>();

#pragma unroll
  for (int j = 0; j < DX_COLUMNS; j++) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int n = n0 + half * 8 + row, f = f0 + column0 + j * 8 + q * 2;
      if (n >= size.N || f >= size.F) continue;
      float* to = partial + ((long)blockIdx.y * size.N + n) * size.F + f;
      *reinterpret_cast<float2*>(to) = make_float2(dx[j][half * 2], dx[j][half * 2 + 1]);
    }
  }
}

template <Product P, int BATCH, class Tensors>
static void one_pass(Device& device, const PlTensor& g, const PlTensor& x, const Tensors& tensors,
                     const PlTensor& dx, PassSize size) {
  const int strips = tiles_of(size.F, PASS_F), depth = tiles_of(size.O, PASS_O);
  int splits = 2 * device.multiprocessors() / strips;  // two blocks on each, in one wave
  splits = splits < 1 ? 1 : splits > depth ? depth : splits;
  size.o_per_split = tiles_of(depth, splits) * PASS_O;
  splits = tiles_of(size.O, size.o_per_split);
  const size_t count = (size_t)size.N * size.F;
  float* partial = splits == 1 ? f32(dx) : device.scratch<float>(PARTIAL_SLOT, splits * count);
  launch(device, linear_pass_kernel<P, BATCH, Tensors>, dim3(strips, splits), dim3(PASS_THREADS),
         PassTiles<BATCH, Tensors>::BYTES, (const float*)f32(g), (const float*)f32(x), tensors,
         partial, size);
  if (splits > 1) add_splits(device, partial, Store{f32(dx), size.F}, splits, size.N, size.F);
}

template <Product P, class Tensors>
static void one_pass(Device& device, const PlTensor& g, const PlTensor& x, const Tensors& tensors,
                     const PlTensor& dx, const PassSize& size) {
  if (size.N <= 32) return one_pass<P, 32>(device, g, x, tensors, dx, size);
  one_pass<P, PASS_BATCH>(device, g, x, tensors, dx, size);
}

template <class Tensors>
static void one_pass_at_precision(Device& device, const PlTensor& g, const PlTensor& x,
                                  const Tensors& tensors, const PlTensor& dx,
                                  const PassSize& size) {
  switch (device.precision()) {
    case PL_BF16:
      return one_pass<Product::BF16>(device, g, x, tensors, dx, size);
    case PL_TF32:
      return one_pass<Product::TF32>(device, g, x, tensors, dx, size);
    default:
      return one_pass<Product::FLOAT32>(device, g, x, tensors, dx, size);
  }
}

// With dx where a batch fits into shared memory in one pass, else dx first, then the step.
template <class Args, class Tensors>
static void step(Device& device, const Args& t, const Tensors& tensors) {
  const int N = row_count(t.x), F = (int)row_pitch(t.x), O = t.w.dims[0];
  const int pitch = (int)row_pitch(t.g);
  if (t.dx.data && N <= PASS_BATCH) {
    return one_pass_at_precision(device, t.g, t.x, tensors, t.dx, {N, O, F, pitch, 0});
  }
  if (t.dx.data) linear_backward_data(device, {t.g, t.w, t.dx}, {});
  const Dense<false> g = {f32(t.g), pitch, 0, N, pitch}, x = {f32(t.x), F, 0, N, F};
  gemm_at_precision<RowMajorTile>(device, g, x, StepEpilogue<Tensors>{tensors, F}, O, F, N);
}

void linear_adam_step(Device& device, const linear_adam_step_args& t, const AdamAttrs& a) {
  step(device, t, AdamTensors{{f32(t.w), f32(t.m), f32(t.v)}, {f32(t.hyper), a}});
}

void linear_sgd_step(Device& device, const linear_sgd_step_args& t, const SgdAttrs& a) {
  step(device, t, SgdTensors{{f32(t.w), f32(t.v)}, {f32(t.hyper), a}});
}

}  // namespace cuda
}  // namespace partlens
