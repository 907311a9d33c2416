// Operand tiles of a matrix product C (M, N) = A (M, K) B (N, K)^T in shared memory, 32 deep in K,
// and the fragments that one lane feeds to the tensor cores.
//   K major    [ROWS][32], the 16-byte chunk c of row r at c ^ (r & 7): no bank conflicts
//   row major  [32][ROWS]: rows are contiguous, as where K counts pixels or images; the eight rows
//              r / 8 of k at r / 8 ^ (k & 3), for the same reason
#pragma once
#include "ptx.h"

namespace partlens {
namespace cuda {

constexpr int TILE_K = 32;

template <bool K_MAJOR, int ROWS>
struct SharedTile {
  static constexpr int PITCH = K_MAJOR ? TILE_K : ROWS;
  static constexpr int FLOATS = ROWS * TILE_K;
  static constexpr int CHUNKS = ROWS * TILE_K / 4;  // of 16 bytes
  static_assert(K_MAJOR || ROWS % 32 == 0, "groups of eight rows change places by fours");

  // Chunk `i` of the tile: its first row and k, and its place.
  static __device__ __forceinline__ int row_of(int i) {
    return K_MAJOR ? i / (TILE_K / 4) : i % (ROWS / 4) * 4;
  }
  static __device__ __forceinline__ int k_of(int i) {
    return K_MAJOR ? i % (TILE_K / 4) * 4 : i / (ROWS / 4);
  }
  static __device__ __forceinline__ int place(int row, int k) {
    return K_MAJOR ? row * PITCH + ((k / 4 ^ (row & 7)) * 4) : k * PITCH + (row ^ (k & 3) * 8);
  }

  // Element (row, k = 4 chunk + q); `row7` = row & 7, which the caller knows without arithmetic.
  static __device__ __forceinline__ float get(const float* s, int row, int row7, int chunk, int q) {
    return K_MAJOR ? s[row * PITCH + ((chunk ^ row7) * 4) + q]
                   : s[(chunk * 4 + q) * PITCH + (row ^ q * 8)];
  }
};

// How operands reach the tensor cores: rounded to tf32; as the sum of two tf32 (float32 to about
// 1e-6: three products); or rounded to bf16.
enum class Product { TF32, FLOAT32, BF16 };

// One lane's part of R rows x 8 of K (16 of K for bf16), in tensor core order.
template <Product P, int R>
struct Fragment {
  uint32_t high[R];
  uint32_t low[P == Product::FLOAT32 ? R : 1];

  __device__ __forceinline__ void set(int i, float v) {
    high[i] = round_tf32(v);
    if (P == Product::FLOAT32) low[i] = round_tf32(v - __uint_as_float(high[i]));
  }
};

// Fragment of A: rows row .. row + 15, k = depth * `step` + ...; g and q as in the PTX manual.
template <Product P, class Tile>
__device__ __forceinline__ void load_a(Fragment<P, 4>& f, const float* s, int row, int step, int g,
                                       int q) {
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const int r = row + g + i % 2 * 8, half = i / 2;
    if (P == Product::BF16) {
      const int chunk = step * 4 + half * 2 + q / 2, at = q % 2 * 2;
      f.high[i] = pack_bf16(Tile::get(s, r, g, chunk, at), Tile::get(s, r, g, chunk, at + 1));
    } else {
      f.set(i, Tile::get(s, r, g, step * 2 + half, q));
    }
  }
}

// Fragment of B: rows row .. row + 7.
template <Product P, class Tile>
__device__ __forceinline__ void load_b(Fragment<P, 2>& f, const float* s, int row, int step, int g,
                                       int q) {
#pragma unroll
  for (int half = 0; half < 2; half++) {
    if (P == Product::BF16) {
      const int chunk = step * 4 + half * 2 + q / 2, at = q % 2 * 2;
      f.high[half] =
          pack_bf16(Tile::get(s, row + g, g, chunk, at), Tile::get(s, row + g, g, chunk, at + 1));
    } else {
      f.set(half, Tile::get(s, row + g, g, step * 2 + half, q));
    }
  }
}

// How far a loop over the steps of a tile is unrolled: with the sums of FLOAT32 beside it, more
// spills.
__host__ __device__ constexpr int unrolled(Product p, int steps) {
  return p == Product::FLOAT32 ? 1 : steps;
}

// d += a b. Tensor cores round their sums towards zero, which in a long sum of float32 outweighs
// all other errors: there they add up 8 of K, small products first. [Ootomo, Yokota 2022]
template <Product P>
__device__ __forceinline__ void multiply(float (&d)[4], const Fragment<P, 4>& a,
                                         const Fragment<P, 2>& b) {
  if constexpr (P == Product::BF16) {
    mma_bf16_16x8x16(d, a.high, b.high);
  } else if constexpr (P == Product::TF32) {
    mma_tf32_16x8x8(d, a.high, b.high);
  } else {
    float sum[4] = {};
    mma_tf32_16x8x8(sum, a.low, b.high);
    mma_tf32_16x8x8(sum, a.high, b.low);
    mma_tf32_16x8x8(sum, a.high, b.high);
#pragma unroll
    for (int i = 0; i < 4; i++) d[i] += sum[i];
  }
}

}  // namespace cuda
}  // namespace partlens
