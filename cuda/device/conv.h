// A convolution as a matrix product: its operands.
//   forward          y (pixels, O)  = patches of x (pixels, R S C)  w (O, R S C)^T
//   backward data    dx (pixels, C) = patches of g (pixels, R S O)  w' (C, R S O)^T, w' = w turned
//   backward weight  dw (O, R S C)  = g (pixels, O)^T  patches of x (pixels, R S C)
#pragma once
#include "gemm.h"
#include "peaks.h"

namespace partlens {
namespace cuda {

// Letters of a convolution, forward: x (N, C, H, W), w (O, C, R, S), y (N, O, P, Q); C and O
// padded.
struct Conv {
  int N, C, H, W, O, P, Q, R, S;
  int stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w;
  int outputs;  // O without padding
  int inputs;   // C without padding
  Divisor by_C, by_O, by_S, by_Q, by_PQ;

  __host__ __device__ int pixels_in() const { return N * H * W; }
  __host__ __device__ int pixels_out() const { return N * P * Q; }
  __host__ __device__ int taps() const { return R * S; }
};

// Patches of x around each output pixel: row = pixel (n, p, q), k = (r, s, c).
struct InputPatches {
  static constexpr bool K_MAJOR = true;
  const float* base;
  Conv v;

  struct Row {
    const float* image;
    int y, x;  // of the patch's corner; far outside for no pixel
  };
  struct Step {
    int r, s, c;  // cells from the corner to the tap
  };
  __device__ void select(int) {}
  __device__ Row row(int m) const {
    if (m >= v.pixels_out()) return {base, -(1 << 20), 0};
    const int n = m / (v.P * v.Q), pixel = m % (v.P * v.Q);
    return {base + (long)n * v.H * v.W * v.C, pixel / v.Q * v.stride_h - v.pad_top,
            pixel % v.Q * v.stride_w - v.pad_left};
  }
  __device__ Step step(int k) const {
    const int tap = v.by_C.quotient(k), r = v.by_S.quotient(tap);
    return {r * v.dilation_h, (tap - r * v.S) * v.dilation_w, k - tap * v.C};
  }
  __device__ const float* at(const Row& row, const Step& k) const {
    const int y = row.y + k.r, x = row.x + k.s;
    const bool inside = (unsigned)y < (unsigned)v.H && (unsigned)x < (unsigned)v.W;
    return inside ? row.image + ((long)y * v.W + x) * v.C + k.c : nullptr;
  }
};

// Gradients that reach each input pixel: row = pixel (n, h, w) of x, k = (r, s, o).
struct GradientPatches {
  static constexpr bool K_MAJOR = true;
  const float* base;
  Conv v;

  struct Row {
    const float* image;
    int y, x;
  };
  struct Step {
    int r, s, o;  // as above
  };
  __device__ void select(int) {}
  __device__ Row row(int m) const {
    if (m >= v.pixels_in()) return {base, -(1 << 20), 0};
    const int n = m / (v.H * v.W), pixel = m % (v.H * v.W);
    return {base + (long)n * v.P * v.Q * v.O, pixel / v.W + v.pad_top, pixel % v.W + v.pad_left};
  }
  __device__ Step step(int k) const {
    const int tap = v.by_O.quotient(k), r = v.by_S.quotient(tap);
    return {r * v.dilation_h, (tap - r * v.S) * v.dilation_w, k - tap * v.O};
  }
  __device__ const float* at(const Row& row, const Step& k) const {
    int p = row.y - k.r, q = row.x - k.s;
    if (p < 0 || q < 0) return nullptr;
    if (v.stride_h > 1 || v.stride_w > 1) {
      if (p % v.stride_h || q % v.stride_w) return nullptr;
      p /= v.stride_h;
      q /= v.stride_w;
    }
    return p < v.P && q < v.Q ? row.image + ((long)p * v.Q + q) * v.O + k.o : nullptr;
  }
};

// The patches again, for the weights' gradient: row = (r, s, c), k = output pixel.
struct PatchColumns {
  static constexpr bool K_MAJOR = false;
  const float* base;
  Conv v;

  struct Row {
    int r, s, c;  // as above
  };
  struct Step {
    long image;
    int y, x;
  };
  __device__ void select(int) {}
  __device__ Row row(int n) const {
    const int tap = n / v.C;  // beyond the last tap: r is out of reach
    const int r = tap < v.taps() ? tap / v.S * v.dilation_h : 1 << 20;
    return {r, tap % v.S * v.dilation_w, n % v.C};
  }
  __device__ Step step(int k) const {
    const int n = v.by_PQ.quotient(k), pixel = k - n * v.P * v.Q, p = v.by_Q.quotient(pixel);
    return {(long)n * v.H * v.W * v.C, p * v.stride_h - v.pad_top,
            (pixel - p * v.Q) * v.stride_w - v.pad_left};
  }
  __device__ const float* at(const Row& row, const Step& k) const {
    const int y = k.y + row.r, x = k.x + row.s;
    const bool inside = (unsigned)y < (unsigned)v.H && (unsigned)x < (unsigned)v.W;
    return inside ? base + k.image + ((long)y * v.W + x) * v.C + row.c : nullptr;
  }
};

// y[m][n] = c + bias[n], then ReLU and rounding if asked for.
struct StoreBiasRelu {
  float* y;
  const float* bias;  // or nullptr
  int pitch, biases;
  bool relu, round;
  __device__ float finish(int n, float c) const {
    const float v = c + (bias && n < biases ? bias[n] : 0);
    return round1(relu && v <= 0 ? 0 : v, round);  // NaN stays
  }
  __device__ void operator()(int, int m, int n, float c0, float c1) const {
    float* to = y + (long)m * pitch + n;
    *reinterpret_cast<float2*>(to) = make_float2(finish(n, c0), finish(n + 1, c1));
  }
};

// The same, and the peaks of what a tile stores.
struct StoreMaps : StoreBiasRelu {
  PeakParts peaks;
};
template <int BM, int BN, int THREADS, class Each>
__device__ __forceinline__ void finish_tile(const StoreMaps& store, const Each& each, float* tile,
                                            int m0, int n0, const GemmSize& size) {
  if (!store.peaks.parts) return;
  constexpr int PITCH = BN + 8;  // the rows of a warp's lanes in different banks
  static_assert(BM % PEAK_ROWS == 0, "whole tiles of peaks");
  __syncthreads();  // nobody multiplies any more
  each([&](int row, int column, float c0, float c1) {
    const int n = n0 + column;
    *reinterpret_cast<float2*>(tile + row * PITCH + column) =
        make_float2(store.finish(n, c0), store.finish(n + 1, c1));
  });
  __syncthreads();  // the tile is there for all
  for (int i = threadIdx.x; i < BM / PEAK_ROWS * BN; i += THREADS) {
    const int row = i / BN * PEAK_ROWS, column = i % BN, m = m0 + row, n = n0 + column;
    if (m >= size.M || n >= size.N) continue;
    store.peaks.store(tile + row * PITCH + column, PITCH, m, min(PEAK_ROWS, size.M - m), n);
  }
}

// to[m][n] = c
struct Store {
  float* to;
  long pitch;
  __device__ void operator()(int, int m, int n, float c0, float c1) const {
    *reinterpret_cast<float2*>(to + m * pitch + n) = make_float2(c0, c1);
  }
};

}  // namespace cuda
}  // namespace partlens
