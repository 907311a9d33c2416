// part_gates: where a decoder may look, from the peaks of the parts.
//   in   x (N, D, n, m)  peak (N, D) int32  alpha (D)  on (N, D), absent: 1
//   out  y, inverse (N, 1, n, m)  factor (D)  alpha_out (D)
//   grid forward: one block per image and 128 cells, a thread each; backward: one per image and 128
//        filters, a thread each
//   tile 128 cones, or what is known of 128 cells, in shared memory
//   cost D n m cones per image; backward writes dx once, zeros but for the peaks
//   v = x at the peak, factor = 1 / max(alpha, floor mean alpha), alpha the running mean over
//   images of v. e = max(v factor max(1 - beta |[i,j] - mu|_1 / sqrt(n m), 0), 1e-6)^t, inverse = 1
//   / (sum over all filters of e + tau^t), y = inverse * sum of on e. Backward, exact: dv = t sum
//   over cells of g (on - y) inverse e / v, without cells where the base is 1e-6.
#include "mask.h"
#include "share.h"

namespace partlens {
namespace cuda {

constexpr int GATE_THREADS = 128;

// Peaks of maps and the cones at them.
struct Cones {
  const float* x;
  const int* peak;
  const float *factor, *on;  // on: or nullptr
  int D, pitch, cells, m;
  float slope, t;

  // A cell that a wrong program could name counts as the nearest there is.
  __device__ int cell(long image, int d) const {
    return min(max(peak[image * pitch + d], 0), cells - 1);
  }
  __device__ float value(long image, int d) const {
    return x[(image * cells + cell(image, d)) * pitch + d];
  }
  __device__ float switched(long image, int d) const { return on ? on[image * pitch + d] : 1; }
};

// One filter's cone: height v factor, where it stands.
struct Cone {
  float height, on;
  int row, column;
  __device__ float base(int i, int j, float slope) const {
    return height * fmaxf(1 - slope * (abs(i - row) + abs(j - column)), 0);
  }
};

__device__ inline Cone cone_of(const Cones& k, long image, int d) {
  const int cell = k.cell(image, d);
  return {k.value(image, d) * k.factor[d], k.switched(image, d), cell / k.m, cell % k.m};
}

static Cones cones_of(const PlTensor& x, const PlTensor& peak, const PlTensor& factor,
                      const PlTensor& on, float beta, float t) {
  const int n = x.dims[2], m = x.dims[3];
  return {f32(x), i32(peak), f32(factor),          f32(on), x.dims[1], padded(x.dims[1]),
          n * m,  m,         beta / side_of(n, m), t};
}

// peaks[d] = mean of the peaks' values over the images.
struct MeanPeakValue {
  Cones k;
  double* peaks;
  int N;
  __device__ void operator()(long d) const {
    double sum = 0;
    for (int n = 0; n < N; n++) sum += k.value(n, (int)d);
    peaks[d] = sum / N;
  }
};

// One block: new alpha, then factor = 1 / max(alpha, floor mean alpha).
__global__ void __launch_bounds__(SUM_THREADS)
    gate_factors_kernel(const double* peaks, const float* alpha, float* alpha_out, float* factor,
                        int D, int pitch, PartGatesAttrs a) {
  const auto peak_of = [&](int d) -> double {
    const double old = alpha[d];
    if (!a.training) return old;
    return old < 0 ? peaks[d] : a.momentum * old + (1 - a.momentum) * peaks[d];
  };
  double sum = 0;
  for (int d = threadIdx.x; d < D; d += SUM_THREADS) sum += peak_of(d) / D;
  const double floor = a.floor * block_sum(sum);
  for (int d = threadIdx.x; d < pitch; d += SUM_THREADS) {
    const double own = d < D ? peak_of(d) : 0, used = d < D && own < floor ? floor : own;
    factor[d] = used > 0 ? (float)(1 / used) : 0;
    if (alpha_out) alpha_out[d] = (float)own;
  }
}

// Maps of one channel: its three lanes of padding are 0.
__device__ __forceinline__ void store_single(float* to, long cell, float v) {
  store4(to + cell * 4, make_float4(v, 0, 0, 0));
}

__global__ void __launch_bounds__(GATE_THREADS)
    part_gates_forward_kernel(Cones k, float* y, float* inverse, float silence) {
  PL_SHARED(Cone, cones, [GATE_THREADS]);
  const long image = blockIdx.x;
  const int cell = blockIdx.y * GATE_THREADS + threadIdx.x, i = cell / k.m, j = cell % k.m;
  float all = 0, kept = 0;
  for (int first = 0; first < k.D; first += GATE_THREADS) {
    const int d = first + threadIdx.x;
    __syncthreads();  // nobody reads the cones before
    if (d < k.D) cones[threadIdx.x] = cone_of(k, image, d);
    __syncthreads();
    const int count = min(GATE_THREADS, k.D - first);
    for (int f = 0; f < count; f++) {
      const Cone cone = cones[f];
      const float e = strength_of(cone.base(i, j, k.slope), k.t);
      all += e;
      kept += e * cone.on;
    }
  }
  if (cell >= k.cells) return;
  const float share = 1 / (all + silence);
  store_single(y, image * k.cells + cell, kept * share);
  store_single(inverse, image * k.cells + cell, share);
}

void part_gates_forward(Device& device, const part_gates_forward_args& t, const PartGatesAttrs& a) {
  const int N = t.x.dims[0];
  const Cones k = cones_of(t.x, t.peak, t.factor, t.on, a.beta, a.power);
  double* peaks = device.scratch<double>(STATISTICS_SLOT, k.pitch);
  if (a.training) for_each(device, k.D, MeanPeakValue{k, peaks, N});
  launch(device, gate_factors_kernel, dim3(1), dim3(SUM_THREADS), 0, (const double*)peaks,
         (const float*)f32(t.alpha), f32(t.alpha_out), f32(t.factor), k.D, k.pitch, a);
  launch(device, part_gates_forward_kernel, dim3(N, tiles_of(k.cells, GATE_THREADS)),
         dim3(GATE_THREADS), 0, k, f32(t.y), f32(t.inverse),
         (float)std::pow((double)a.tau, (double)a.power));
}

// What the gradient needs of a cell: g / (sum of e + tau^t), and the gate.
struct GateCell {
  float rise, gate;
};

__global__ void __launch_bounds__(GATE_THREADS)
    part_gates_backward_kernel(Cones k, const float* g, const float* y, const float* inverse,
                               float* dx) {
  PL_SHARED(GateCell, tile, [GATE_THREADS]);
  const long image = blockIdx.x, image_at = image * k.cells;
  const int d = blockIdx.y * GATE_THREADS + threadIdx.x;
  const bool here = d < k.D;
  const Cone cone = here ? cone_of(k, image, d) : Cone{0, 0, 0, 0};
  float sum = 0;
  for (int first = 0; first < k.cells; first += GATE_THREADS) {
    const long at = (image_at + first + threadIdx.x) * 4;
    __syncthreads();  // nobody reads the cells before
    if (first + (int)threadIdx.x < k.cells) tile[threadIdx.x] = {g[at] * inverse[at], y[at]};
    __syncthreads();
    const int count = min(GATE_THREADS, k.cells - first);
    for (int c = 0, i = first / k.m, j = first % k.m; c < count; c++) {
      const float base = cone.base(i, j, k.slope);
      if (++j == k.m) i++, j = 0;
      if (base > LEAST_BASE)
        sum += tile[c].rise * (cone.on - tile[c].gate) * strength_of(base, k.t);
    }
  }
  if (d >= k.pitch) return;
  // A filter with a gradient has a base above 1e-6 somewhere, and so a peak above 0.
  const float v = here ? k.value(image, d) : 0, rise = v > 0 ? k.t * sum / v : 0;
  const int mu = here ? k.cell(image, d) : -1;
  for (int cell = 0; cell < k.cells; cell++) {
    dx[(image_at + cell) * k.pitch + d] = cell == mu ? rise : 0;
  }
}

void part_gates_backward(Device& device, const part_gates_backward_args& t, const ConeAttrs& a) {
  const Cones k = cones_of(t.x, t.peak, t.factor, t.on, a.beta, a.power);
  launch(device, part_gates_backward_kernel,
         dim3((unsigned)t.x.dims[0], tiles_of(k.pitch, GATE_THREADS)), dim3(GATE_THREADS), 0, k,
         (const float*)f32(t.g), (const float*)f32(t.y), (const float*)f32(t.inverse), f32(t.dx));
}

}  // namespace cuda
}  // namespace partlens
