// The convolution on Hopper's warpgroup products: 192 x 128 tiles (14 x 14 maps of 32 images and
// 512 filters, or of 64 images and 256, are then one wave of 132 multiprocessors), three
// warpgroups, five stages of 40 KB in flight.
//   grid  x tiles of pixels, y tiles of filters
//   The tensor cores cut what they read to tf32: maps and weights are rounded before, so that the
//   error has no sign; maps by the calls that made them, where the plan says so.
#include "../device/wgmma.h"
#include "conv2d.h"

namespace partlens {
namespace cuda {

constexpr int WGMMA_M = 192, WGMMA_N = 128, WGMMA_THREADS = 384, WGMMA_STAGES = 5;
constexpr size_t WGMMA_SHARED = sizeof(float) * WGMMA_STAGES * (WGMMA_M + WGMMA_N) * TILE_K;

template <class Patches, class Epilogue>
__global__ void __launch_bounds__(WGMMA_THREADS, 1)
    wgmma_conv_kernel(Patches a, Dense<true> b, Epilogue epilogue, int M, int N, int K) {
#ifdef PL_HAS_WGMMA
  typedef SharedTile<true, WGMMA_M> TileA;
  typedef SharedTile<true, WGMMA_N> TileB;
  constexpr int ROWS_AT_ONCE = WGMMA_THREADS / 8, A_CHUNKS = WGMMA_M / ROWS_AT_ONCE;
  constexpr int B_CHUNKS = (WGMMA_N + ROWS_AT_ONCE - 1) / ROWS_AT_ONCE, AHEAD = WGMMA_STAGES - 2;
  PL_DYNAMIC_SHARED(float, shared);
  float* sA = shared;
  float* sB = shared + WGMMA_STAGES * TileA::FLOATS;
  const int t = threadIdx.x, group = t / 128, chunk = t % 8, first = t / 8;
  const int m0 = blockIdx.x * WGMMA_M, n0 = blockIdx.y * WGMMA_N, tiles = K / TILE_K;
  typename Patches::Row rows_a[A_CHUNKS];
  Dense<true>::Row rows_b[B_CHUNKS];
#pragma unroll
  for (int i = 0; i < A_CHUNKS; i++) rows_a[i] = a.row(m0 + first + i * ROWS_AT_ONCE);
#pragma unroll
  for (int i = 0; i < B_CHUNKS; i++) rows_b[i] = b.row(n0 + first + i * ROWS_AT_ONCE);

  const auto fetch = [&](int tile) {
    if (tile < tiles) {
      const int stage = tile % WGMMA_STAGES, k = tile * TILE_K + chunk * 4;
      const auto step_a = a.step(k);
      const auto step_b = b.step(k);
#pragma unroll
      for (int i = 0; i < A_CHUNKS; i++) {
        const float* from = a.at(rows_a[i], step_a);
        const int place = TileA::place(first + i * ROWS_AT_ONCE, chunk * 4);
        cp_async16(sA + stage * TileA::FLOATS + place, from ? from : a.base, from ? 16 : 0);
      }
#pragma unroll
      for (int i = 0; i < B_CHUNKS; i++) {
        const int row = first + i * ROWS_AT_ONCE;
        if (row >= WGMMA_N) break;
        const float* from = b.at(rows_b[i], step_b);
        const int place = TileB::place(row, chunk * 4);
        cp_async16(sB + stage * TileB::FLOATS + place, from ? from : b.base, from ? 16 : 0);
      }
    }
    cp_async_commit();
  };

  float c[64];
#pragma unroll
  for (int i = 0; i < 64; i++) c[i] = 0;
#pragma unroll
  for (int tile = 0; tile < AHEAD; tile++) fetch(tile);
  for (int tile = 0; tile < tiles; tile++) {
    cp_async_wait<AHEAD - 1>();
    fence_async_shared();
    __syncthreads();  // the tile is there for all; nobody multiplies the tile before the last
    const float* tA = sA + tile % WGMMA_STAGES * TileA::FLOATS + group * 64 * TILE_K;
    const float* tB = sB + tile % WGMMA_STAGES * TileB::FLOATS;
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < TILE_K; k += 8) {
      wgmma_m64n128k8_tf32(c, shared_tile(tA + k), shared_tile(tB + k), true);
    }
    wgmma_commit();
    fetch(tile + AHEAD);
    wgmma_wait<1>();
  }
  wgmma_finish(c);
  cp_async_wait<0>();

  const int lane = t % 32, row = m0 + group * 64 + t % 128 / 32 * 16 + lane / 4;
#pragma unroll
  for (int j = 0; j < 16; j++) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int m = row + half * 8, n = n0 + j * 8 + lane % 4 * 2;
      if (m < M && n < N) epilogue(0, m, n, c[j * 4 + half * 2], c[j * 4 + half * 2 + 1]);
    }
  }
#else
  __trap();  // fits() allows no other device: a library without sm_90a code must not go on
#endif
}

struct RoundTf32 {
  const float* from;
  float* to;
  __device__ void operator()(long i) const {
    store4(to + i * 4, round4(load4(from + i * 4), true));
  }
};

// A copy of `count` elements as tf32, in the place of what `from` points to.
static void round_copy(Device& device, const float*& from, float* to, long count) {
  for_each(device, count / 4, RoundTf32{from, to});
  from = to;
}

// True where the 192 x 128 tiles are worth it: whole 32s of K per tap and half a wave of tiles.
static bool fits(const Device& device, int channels, int M, int N) {
  const long tiles = (long)tiles_of(M, WGMMA_M) * tiles_of(N, WGMMA_N);
  return device.hopper() && device.precision() == PL_TF32 && channels % TILE_K == 0 &&
         N >= WGMMA_N && tiles * 2 >= device.multiprocessors();
}

template <class Patches, class Epilogue>
static void wgmma_conv(Device& device, const Patches& patches, const Dense<true>& weights,
                       const Epilogue& epilogue, int M, int N, int K) {
  launch(device, wgmma_conv_kernel<Patches, Epilogue>,
         dim3(tiles_of(M, WGMMA_M), tiles_of(N, WGMMA_N)), dim3(WGMMA_THREADS), WGMMA_SHARED,
         patches, weights, epilogue, M, N, K);
}

bool conv2d_forward_wgmma(Device& device, const Conv& v, const float* x, bool rounded,
                          const float* w, const StoreBiasRelu& store) {
  if (!fits(device, v.C, v.pixels_out(), v.O)) return false;
  const int K = v.taps() * v.C;
  const long weights = (long)v.outputs * K, maps = (long)v.pixels_in() * v.C;
  float* copies = device.scratch<float>(OPERAND_SLOT, weights + (rounded ? 0 : maps));
  round_copy(device, w, copies, weights);
  if (!rounded) round_copy(device, x, copies + weights, maps);
  wgmma_conv(device, InputPatches{x, v}, {w, K, 0, v.outputs, K}, store, v.pixels_out(), v.O, K);
  return true;
}

bool conv2d_backward_data_wgmma(Device& device, const Conv& v, const float* g, bool rounded,
                                const float* turned, const Store& store) {
  if (!fits(device, v.O, v.pixels_in(), v.C)) return false;
  const int K = v.taps() * v.O;
  const long maps = (long)v.pixels_out() * v.O;
  if (!rounded) round_copy(device, g, device.scratch<float>(OPERAND_SLOT, maps), maps);
  wgmma_conv(device, GradientPatches{g, v}, {turned, K, 0, v.C, K}, store, v.pixels_in(), v.C, K);
  return true;
}

}  // namespace cuda
}  // namespace partlens
