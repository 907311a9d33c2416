// C (M, N) = A (M, K) B (N, K)^T on Hopper's warpgroup products: 192 x 128 tiles (14 x 14 maps of
// 32 images and 512 filters, or of 64 images and 256, are then one wave of 132 multiprocessors),
// three warpgroups, five stages of 40 KB in flight.
//   grid  x tiles of M, y tiles of N, z splits of K
//   Operands and epilogues are those of gemm.h; the tensor cores cut what they read, so that
//   operands are rounded before. Of bf16 two lie in each of an operand's words, along the direction
//   in which its chunks run: K, which is then counted in words, or the rows. TF32 products take K
//   major only.
#pragma once
#include "gemm.h"
#include "wgmma.h"

namespace partlens {
namespace cuda {

constexpr int WGMMA_M = 192, WGMMA_N = 128, WGMMA_THREADS = 384, WGMMA_STAGES = 5;
constexpr int WGMMA_GROUP = 64;  // rows of a warpgroup
constexpr size_t WGMMA_SHARED = sizeof(float) * WGMMA_STAGES * (WGMMA_M + WGMMA_N) * TILE_K;

// A K major tile: 32 words of each row, 8 for one product.
template <bool K_MAJOR, int ROWS>
struct WgmmaTile : SharedTile<true, ROWS> {
  static constexpr int DEPTH = TILE_K, ROWS_PER_WORD = 1, STEP = 8, APART = 16;
};

// A row major tile of bf16: [ROWS / 64][64 of K][64 rows], swizzled; 16 of K for one product.
template <int ROWS>
struct WgmmaTile<false, ROWS> {
  static constexpr int DEPTH = 64, ROWS_PER_WORD = 2, STEP = 16 * 32, APART = 64 * 128;
  static constexpr int CHUNKS = ROWS * DEPTH / 8;  // of 16 bytes
  static __device__ __forceinline__ int row_of(int i) { return i % (ROWS / 8) * 8; }
  static __device__ __forceinline__ int k_of(int i) { return i / (ROWS / 8); }
  static __device__ __forceinline__ int place(int row, int k) {
    return (row / 64 * DEPTH + k) * 32 + (row % 64 / 8 ^ (k & 7)) * 4;
  }
};

// What a thread copies of one operand: chunks t, t + threads ... of each tile.
template <class Tile, class Operand>
struct WgmmaCopies {
  static constexpr int COUNT = (Tile::CHUNKS + WGMMA_THREADS - 1) / WGMMA_THREADS;
  static constexpr int ROWS = Operand::K_MAJOR ? COUNT : 1;  // row major chunks share theirs
  static_assert(Operand::K_MAJOR || WGMMA_THREADS % (Tile::CHUNKS / Tile::DEPTH) == 0, "they do");
  typename Operand::Row rows[ROWS];

  __device__ WgmmaCopies(const Operand& operand, int first) {
#pragma unroll
    for (int i = 0; i < ROWS; i++) {
      const int row = first + Tile::row_of(threadIdx.x + i * WGMMA_THREADS);
      rows[i] = operand.row(row / Tile::ROWS_PER_WORD);
    }
  }
  __device__ void start(const Operand& operand, float* to, int k0, int k_end) const {
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
      const int chunk = threadIdx.x + i * WGMMA_THREADS, k = k0 + Tile::k_of(chunk);
      if (chunk >= Tile::CHUNKS) break;
      const float* from = k < k_end ? operand.at(rows[i % ROWS], operand.step(k)) : nullptr;
      cp_async16(to + Tile::place(Tile::row_of(chunk), Tile::k_of(chunk)),
                 from ? from : operand.base, from ? 16 : 0);
    }
  }
};

template <Product P, class A, class B, class Epilogue>
__global__ void __launch_bounds__(WGMMA_THREADS, 1)
    wgmma_kernel(A a, B b, Epilogue epilogue, GemmSize size) {
  static_assert(A::K_MAJOR == B::K_MAJOR && (P == Product::BF16 || A::K_MAJOR), "see above");
  static_assert(P != Product::FLOAT32, "one product each");
#ifdef PL_HAS_WGMMA
  typedef WgmmaTile<A::K_MAJOR, WGMMA_M> TileA;
  typedef WgmmaTile<B::K_MAJOR, WGMMA_N> TileB;
  constexpr int AHEAD = WGMMA_STAGES - 2, DEPTH = TileA::DEPTH, STEP = TileA::STEP;
  constexpr int STAGE_A = WGMMA_M * TILE_K, STAGE_B = WGMMA_N * TILE_K;
  PL_DYNAMIC_SHARED(float, shared);
  float* sA = shared;
  float* sB = shared + WGMMA_STAGES * STAGE_A;
  const int m0 = blockIdx.x * WGMMA_M, n0 = blockIdx.y * WGMMA_N, group = threadIdx.x / 128;
  const int k_begin = blockIdx.z * size.k_per_split;
  const int k_end = min(k_begin + size.k_per_split, size.K);
  const int tiles = (k_end - k_begin + DEPTH - 1) / DEPTH;
  const WgmmaCopies<TileA, A> copies_a(a, m0);
  const WgmmaCopies<TileB, B> copies_b(b, n0);

  const auto fetch = [&](int tile) {
    if (tile < tiles) {
      const int stage = tile % WGMMA_STAGES, k0 = k_begin + tile * DEPTH;
      copies_a.start(a, sA + stage * STAGE_A, k0, k_end);
      copies_b.start(b, sB + stage * STAGE_B, k0, k_end);
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
    const float* tA = sA + tile % WGMMA_STAGES * STAGE_A + group * WGMMA_GROUP * TILE_K;
    const float* tB = sB + tile % WGMMA_STAGES * STAGE_B;
    wgmma_fence();
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const SharedTileAddress at = shared_tile(tA + i * STEP, TileA::APART);
      const SharedTileAddress bt = shared_tile(tB + i * STEP, TileB::APART);
      if constexpr (P == Product::BF16) {
        wgmma_m64n128k16_bf16<A::K_MAJOR>(c, at, bt);
      } else {
        wgmma_m64n128k8_tf32(c, at, bt);
      }
    }
    wgmma_commit();
    fetch(tile + AHEAD);
    wgmma_wait<1>();
  }
  wgmma_finish(c);
  cp_async_wait<0>();

  const auto each = [&](auto visit) {
    const int lane = threadIdx.x % 32, row = threadIdx.x / 32 * 16 + lane / 4;
#pragma unroll
    for (int j = 0; j < 16; j++) {
#pragma unroll
      for (int half = 0; half < 2; half++) {
        visit(row + half * 8, j * 8 + lane % 4 * 2, c[j * 4 + half * 2], c[j * 4 + half * 2 + 1]);
      }
    }
  };
  each([&](int row, int column, float c0, float c1) {
    const int m = m0 + row, n = n0 + column;
    if (m < size.M && n < size.N) epilogue((int)blockIdx.z, m, n, c0, c1);
  });
  finish_tile<WGMMA_M, WGMMA_N, WGMMA_THREADS>(epilogue, each, shared, m0, n0, size);
#else
  __trap();  // wgmma_fits() allows no other device: a library without sm_90a code must not go on
#endif
}

// Whether tiles and splits of K fill at least half of the multiprocessors.
inline bool wgmma_fits(const Device& device, int M, int N, int splits) {
  const long tiles = (long)tiles_of(M, WGMMA_M) * tiles_of(N, WGMMA_N) * splits;
  return device.hopper() && N >= WGMMA_N && tiles * 2 >= device.multiprocessors();
}

template <Product P, class A, class B, class Epilogue>
void wgmma(Device& device, const A& a, const B& b, const Epilogue& epilogue, const GemmSize& size) {
  launch(device, wgmma_kernel<P, A, B, Epilogue>,
         dim3(tiles_of(size.M, WGMMA_M), tiles_of(size.N, WGMMA_N), size.splits),
         dim3(WGMMA_THREADS), WGMMA_SHARED, a, b, epilogue, size);
}

}  // namespace cuda
}  // namespace partlens
