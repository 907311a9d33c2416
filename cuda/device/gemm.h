// C (M, N) = A (M, K) B (N, K)^T on tensor cores, for every matrix product of the package: implicit
// GEMM of the convolutions, fully connected layers, scores and gradient of the filter loss.
//   grid  x tiles of M, y tiles of N, z batch * splits of K
//   tile  BM x BN, warps of WM x WN; STAGES tiles of 32 of K in flight by cp.async
//   cost  reads A N/BN times and B M/BM times through L2
// An operand is a struct that says where its 16-byte chunks lie:
//   static constexpr bool K_MAJOR           chunks run along K, or along the rows
//   void select(int batch)                  moves to a matrix of the batch
//   Row row(int r)                          what is fixed for a row (K major) or 4 rows (row major)
//   Step step(int k)                        what is fixed for a k
//   const float* at(Row, Step)              the chunk, or nullptr for zeros
// An epilogue is a struct with  void operator()(int batch, int m, int n, float c_n, float c_n+1).
// One that wants the whole tile besides overloads finish_tile().
#pragma once
#include <type_traits>

#include "../launch.h"
#include "../layout.h"
#include "tile.h"
#include "vec.h"

namespace partlens {
namespace cuda {

template <int BM_, int BN_, int WM_, int WN_, int STAGES_>
struct TileShape {
  static constexpr int BM = BM_, BN = BN_, WM = WM_, WN = WN_, STAGES = STAGES_;
  static constexpr int THREADS = BM / WM * (BN / WN) * 32;
};
typedef TileShape<128, 128, 64, 32, 3> LargeTile;
// For row major operands: four large warps read a third less of shared memory for the same products
// than eight, and two such blocks fit a multiprocessor. Other operands, and the sums of FLOAT32,
// need too many registers beside them.
typedef TileShape<128, 128, 64, 64, 3> RowMajorTile;
typedef TileShape<64, 64, 32, 32, 4> SmallTile;
typedef TileShape<32, 128, 32, 32, 4>
    FlatTile;  // few rows: a batch through a fully connected layer

struct GemmSize {
  int M, N, K;
  int splits, k_per_split;  // k_per_split: a multiple of TILE_K
};

// Called by all threads of a block after its tile is stored. `each(visit)` calls visit(row, column,
// c, c of the next column) for what this thread has of the tile; the block's shared memory is free
// after a barrier.
template <int BM, int BN, int THREADS, class Epilogue, class Each>
__device__ __forceinline__ void finish_tile(const Epilogue&, const Each&, float* /*shared*/,
                                            int /*m0*/, int /*n0*/, const GemmSize&) {}

template <class Shape, Product P, class A, class B, class Epilogue>
__global__ void __launch_bounds__(Shape::THREADS, 1)
    gemm_kernel(A a, B b, Epilogue epilogue, GemmSize size) {
  constexpr int BM = Shape::BM, BN = Shape::BN, STAGES = Shape::STAGES, THREADS = Shape::THREADS;
  constexpr int MT = Shape::WM / 16, NT = Shape::WN / 8, STEPS = P == Product::BF16 ? 2 : 4;
  typedef SharedTile<A::K_MAJOR, BM> TileA;
  typedef SharedTile<B::K_MAJOR, BN> TileB;
  constexpr int A_CHUNKS = TileA::CHUNKS / THREADS, B_CHUNKS = TileB::CHUNKS / THREADS;
  // A thread's chunks share their k (K major) or their rows (row major).
  constexpr int A_ROWS = A::K_MAJOR ? A_CHUNKS : 1, B_ROWS = B::K_MAJOR ? B_CHUNKS : 1;
  static_assert(TileA::CHUNKS % THREADS == 0 && TileB::CHUNKS % THREADS == 0, "whole chunks");
  static_assert(A::K_MAJOR || THREADS % (BM / 4) == 0, "one column of chunks per thread");
  static_assert(B::K_MAJOR || THREADS % (BN / 4) == 0, "one column of chunks per thread");

  PL_DYNAMIC_SHARED(float, shared);
  float* sA = shared;
  float* sB = shared + STAGES * TileA::FLOATS;
  const int t = threadIdx.x, warp = t / 32, lane = t % 32, g = lane / 4, q = lane % 4;
  const int m0 = blockIdx.x * BM, n0 = blockIdx.y * BN;
  const int batch = blockIdx.z / size.splits, split = blockIdx.z % size.splits;
  const int k_begin = split * size.k_per_split;
  const int k_end = min(k_begin + size.k_per_split, size.K);
  const int tiles = (k_end - k_begin + TILE_K - 1) / TILE_K;
  const int wm = warp % (BM / Shape::WM) * Shape::WM, wn = warp / (BM / Shape::WM) * Shape::WN;
  a.select(batch);
  b.select(batch);

  typename A::Row rows_a[A_ROWS];
  typename B::Row rows_b[B_ROWS];
#pragma unroll
  for (int i = 0; i < A_ROWS; i++) rows_a[i] = a.row(m0 + TileA::row_of(t + i * THREADS));
#pragma unroll
  for (int i = 0; i < B_ROWS; i++) rows_b[i] = b.row(n0 + TileB::row_of(t + i * THREADS));

  const auto fetch = [&](int tile) {
    if (tile < tiles) {
      const int stage = tile % STAGES, k0 = k_begin + tile * TILE_K;
#pragma unroll
      for (int i = 0; i < A_CHUNKS; i++) {
        const int chunk = t + i * THREADS, row = TileA::row_of(chunk), k = TileA::k_of(chunk);
        const float* from = k0 + k < k_end ? a.at(rows_a[i % A_ROWS], a.step(k0 + k)) : nullptr;
        cp_async16(sA + stage * TileA::FLOATS + TileA::place(row, k), from ? from : a.base,
                   from ? 16 : 0);
      }
#pragma unroll
      for (int i = 0; i < B_CHUNKS; i++) {
        const int chunk = t + i * THREADS, row = TileB::row_of(chunk), k = TileB::k_of(chunk);
        const float* from = k0 + k < k_end ? b.at(rows_b[i % B_ROWS], b.step(k0 + k)) : nullptr;
        cp_async16(sB + stage * TileB::FLOATS + TileB::place(row, k), from ? from : b.base,
                   from ? 16 : 0);
      }
    }
    cp_async_commit();
  };

  float c[MT][NT][4] = {};
#pragma unroll
  for (int stage = 0; stage < STAGES - 1; stage++) fetch(stage);
  for (int tile = 0; tile < tiles; tile++) {
    cp_async_wait<STAGES - 2>();
    __syncthreads();  // the tile is there for all; all are done with the stage that is fetched next
    fetch(tile + STAGES - 1);
    const float* tA = sA + tile % STAGES * TileA::FLOATS;
    const float* tB = sB + tile % STAGES * TileB::FLOATS;
#pragma unroll(unrolled(P, STEPS))
    for (int step = 0; step < STEPS; step++) {
      Fragment<P, 4> fa[MT];
      Fragment<P, 2> fb[NT];
#pragma unroll
      for (int i = 0; i < MT; i++) load_a<P, TileA>(fa[i], tA, wm + i * 16, step, g, q);
#pragma unroll
      for (int j = 0; j < NT; j++) load_b<P, TileB>(fb[j], tB, wn + j * 8, step, g, q);
#pragma unroll
      for (int i = 0; i < MT; i++) {
#pragma unroll
        for (int j = 0; j < NT; j++) multiply<P>(c[i][j], fa[i], fb[j]);
      }
    }
  }
  cp_async_wait<0>();

  const auto each = [&](auto visit) {
#pragma unroll
    for (int i = 0; i < MT; i++) {
#pragma unroll
      for (int j = 0; j < NT; j++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
          visit(wm + i * 16 + half * 8 + g, wn + j * 8 + q * 2, c[i][j][half * 2],
                c[i][j][half * 2 + 1]);
        }
      }
    }
  };
  each([&](int row, int column, float c0, float c1) {
    const int m = m0 + row, n = n0 + column;
    if (m < size.M && n < size.N) epilogue((int)blockIdx.z, m, n, c0, c1);
  });
  finish_tile<BM, BN, THREADS>(epilogue, each, shared, m0, n0, size);
}

// partial[split][m][n], added in order by AddSplits.
struct StorePartial {
  float* partial;
  int M, N;
  __device__ void operator()(int split, int m, int n, float c0, float c1) const {
    float* to = partial + ((long)split * M + m) * N + n;
    *reinterpret_cast<float2*>(to) = make_float2(c0, c1);
  }
};

template <class Epilogue>
struct AddSplits {
  const float* partial;
  Epilogue epilogue;
  int splits, M, N;
  Divisor by_chunks;  // of 4 in a row of N
  __device__ void operator()(long i) const {
    const long at = i * 4, plane = (long)M * N;
    float4 sum = load4(partial + at);
    for (int s = 1; s < splits; s++) sum = add4(sum, load4(partial + s * plane + at));
    const int m = by_chunks.quotient((int)i), n = ((int)i - m * by_chunks.by) * 4;
    epilogue(0, m, n, sum.x, sum.y);
    epilogue(0, m, n + 2, sum.z, sum.w);
  }
};

// epilogue(sum of partial[split]), each (M, N); N: a multiple of 4.
template <class Epilogue>
void add_splits(Device& device, const float* partial, Epilogue epilogue, int splits, int M, int N) {
  for_each(device, (long)M * N / 4,
           AddSplits<Epilogue>{partial, epilogue, splits, M, N, divisor(N / 4)});
}

// What a block costs beside its tiles of K, in tiles: its start, and partial sums that are written
// and read again. Estimated, for 128 x 128 tiles.
constexpr int BLOCK_COST = 16;

// Splits of K, at least 8 tiles each, so that the waves of blocks take the least time.
inline GemmSize split_size(const Device& device, int M, int N, int K, int BM, int BN) {
  const long tiles = (long)tiles_of(M, BM) * tiles_of(N, BN), wave = device.multiprocessors();
  const int depth = tiles_of(K, TILE_K);
  int best = 1;
  long least = 0;
  for (int splits = 1; splits <= 64 && (splits == 1 || splits * 8 <= depth); splits++) {
    const long waves = (tiles * splits + wave - 1) / wave;
    const long time = waves * (tiles_of(depth, splits) + BLOCK_COST);
    if (splits > 1 && time >= least) continue;
    best = splits;
    least = time;
  }
  const int k_per_split = tiles_of(depth, best) * TILE_K;
  return {M, N, K, tiles_of(K, k_per_split), k_per_split};
}

template <class Shape, Product P, class A, class B, class Epilogue>
void start_gemm(Device& device, A a, B b, Epilogue epilogue, GemmSize size, int batches) {
  constexpr size_t shared =
      sizeof(float) * Shape::STAGES *
      (SharedTile<A::K_MAJOR, Shape::BM>::FLOATS + SharedTile<B::K_MAJOR, Shape::BN>::FLOATS);
  static_assert(shared <= SHARED_LIMIT, "fits every device");
  const dim3 grid(tiles_of(size.M, Shape::BM), tiles_of(size.N, Shape::BN), batches * size.splits);
  launch(device, gemm_kernel<Shape, P, A, B, Epilogue>, grid, dim3(Shape::THREADS), shared, a, b,
         epilogue, size);
}

// The product with K split over blocks where M and N alone would leave multiprocessors idle.
// N: a multiple of 4. Returns whether K was whole, so that the epilogue saw tiles.
template <class Shape, Product P, class A, class B, class Epilogue>
bool gemm(Device& device, A a, B b, Epilogue epilogue, int M, int N, int K) {
  const GemmSize size = split_size(device, M, N, K, Shape::BM, Shape::BN);
  if (size.splits == 1) {
    start_gemm<Shape, P>(device, a, b, epilogue, size, 1);
    return true;
  }
  float* partial = device.scratch<float>(PARTIAL_SLOT, (size_t)size.splits * M * N);
  start_gemm<Shape, P>(device, a, b, StorePartial{partial, M, N}, size, 1);
  add_splits(device, partial, epilogue, size.splits, M, N);
  return false;
}

// One product per batch, K whole; always to float32's accuracy.
template <class Shape, class A, class B, class Epilogue>
void batched_gemm(Device& device, A a, B b, Epilogue epilogue, int M, int N, int K, int batches) {
  const GemmSize size = {M, N, K, 1, tiles_of(K, TILE_K) * TILE_K};
  start_gemm<Shape, Product::FLOAT32>(device, a, b, epilogue, size, batches);
}

// Runs gemm<Shape> at the device's precision.
template <class Shape, class A, class B, class Epilogue>
bool gemm_at_precision(Device& device, A a, B b, Epilogue epilogue, int M, int N, int K) {
  switch (device.precision()) {
    case PL_BF16:
      return gemm<Shape, Product::BF16>(device, a, b, epilogue, M, N, K);
    case PL_TF32:
      return gemm<Shape, Product::TF32>(device, a, b, epilogue, M, N, K);
    default:
      typedef std::conditional_t<std::is_same<Shape, RowMajorTile>::value, LargeTile, Shape> Exact;
      return gemm<Exact, Product::FLOAT32>(device, a, b, epilogue, M, N, K);
  }
}

// A plain matrix [rows][pitch]: as an operand whose rows are the product's rows and whose columns
// are K, or (row major) whose columns are the product's rows and whose rows are K.
template <bool K_MAJOR_>
struct Dense {
  static constexpr bool K_MAJOR = K_MAJOR_;
  const float* base;
  long pitch, batch_stride;
  int rows, columns;  // columns: a multiple of 4

  struct Row {
    long offset;
    bool inside;
  };
  struct Step {
    long offset;
    bool inside;
  };
  __device__ void select(int batch) { base += batch * batch_stride; }
  __device__ Row row(int r) const {
    return K_MAJOR ? Row{r * pitch, r < rows} : Row{(long)r, r < columns};
  }
  __device__ Step step(int k) const {
    return K_MAJOR ? Step{(long)k, k < columns} : Step{k * pitch, k < rows};
  }
  __device__ const float* at(const Row& r, const Step& s) const {
    return r.inside && s.inside ? base + r.offset + s.offset : nullptr;
  }
};

}  // namespace cuda
}  // namespace partlens
