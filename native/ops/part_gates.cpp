// part_gates: where a decoder may look, from the peaks of the parts.
//   in   x (N, D, n, m)  peak (N, D) int32  alpha (D)  on (N, D), absent: 1
//   out  y, inverse (N, 1, n, m)  factor (D)  alpha_out (D)
//   grid one task per image
//   cost D n m cones per image, in registers; backward writes dx once, zeros but for the peaks
//   v = x at the peak, factor = 1 / max(alpha, floor mean alpha), alpha the running mean over
//   images of v. e = max(v factor max(1 - beta |[i,j] - mu|_1 / sqrt(n m), 0), 1e-6)^t, inverse = 1
//   / (sum over all filters of e + tau^t), y = inverse * sum of on e. Backward, exact: dv = t sum
//   over cells of g (on - y) inverse e / v, without cells where the base is 1e-6.
#include "mask.h"
#include "share.h"

namespace partlens {
namespace PL_ISA {

// A cell that a wrong program could name counts as the nearest there is.
static inline int inside(int cell, int cells) {
  return cell < 0 ? 0 : cell < cells ? cell : cells - 1;
}

// Peaks of maps: their values, and the rows and columns where they lie, as floats.
struct PartPeaks {
  const float* x;
  const int* peak;
  int blocks, cells, m, stride;  // stride: of rows (N, D)

  PartPeaks(const PlTensor& maps, const PlTensor& peaks)
      : x(f32(maps)),
        peak(i32(peaks)),
        blocks(blocks_of(maps.dims[1])),
        cells(maps.dims[2] * maps.dims[3]),
        m(maps.dims[3]),
        stride(row_stride(peaks)) {}
  int cell(int image, int d) const { return inside(peak[(long)image * stride + d], cells); }
  float value(int image, int d) const {
    const long block = (long)image * blocks + d / BLOCK;
    return x[(block * cells + cell(image, d)) * BLOCK + d % BLOCK];
  }
};

// factor (D): 1 / max(alpha, floor mean alpha), 0 where that is 0; alpha_out if it is there.
static void gate_factors(Device& device, const PartPeaks& peaks, const part_gates_forward_args& t,
                         const PartGatesAttrs& a) {
  const int N = t.x.dims[0], D = t.x.dims[1];
  double* strength = reinterpret_cast<double*>(device.scratch(0, 2 * (size_t)padded(D)));
  const float* alpha = f32(t.alpha);
  double mean = 0;
  for (int d = 0; d < D; d++) {
    const double old = alpha[d];
    strength[d] = old;
    if (a.training) {
      double batch = 0;
      for (int n = 0; n < N; n++) batch += peaks.value(n, d);
      batch /= N;
      strength[d] = old < 0 ? batch : a.momentum * old + (1 - a.momentum) * batch;
    }
    mean += strength[d] / D;
  }
  const double floor = a.floor * mean;
  for (int d = 0; d < padded(D); d++) {
    const double used = d < D ? (strength[d] > floor ? strength[d] : floor) : 0;
    f32(t.factor)[d] = used > 0 ? (float)(1 / used) : 0;
    if (t.alpha_out.data) f32(t.alpha_out)[d] = d < D ? (float)strength[d] : 0;
  }
}

// The cones of one image's filters, a line of padded(D) floats each.
struct Cones {
  const float* least;
  float *height, *row, *column;  // height: v factor
  float slope, t;
  int padded_filters;

  // `to`: 3 padded(D) floats
  Cones(const PartPeaks& peaks, int image, int D, const float* factor, const float* least,
        float* to, float slope, float t)
      : least(least),
        height(to),
        row(to + padded(D)),
        column(to + 2 * padded(D)),
        slope(slope),
        t(t),
        padded_filters(padded(D)) {
    for (int d = 0; d < padded(D); d++) {
      const int cell = d < D ? peaks.cell(image, d) : 0;
      height[d] = d < D ? peaks.value(image, d) * factor[d] : 0;
      row[d] = (float)(cell / peaks.m);
      column[d] = (float)(cell % peaks.m);
    }
  }
  // v factor cone, before it is held above 1e-6
  Vec base(int d, int i, int j) const {
    const Vec distance = absolute(load(row + d) - (float)i) + absolute(load(column + d) - (float)j);
    return load(height + d) * positive(1 - slope * distance);
  }
  Vec strength(int d, Vec base) const {
    const Vec floor = load(least + d);
    return raised(base > floor ? base : floor, t);
  }
};

void part_gates_forward(Device& device, const part_gates_forward_args& t, const PartGatesAttrs& a) {
  const int D = t.x.dims[1], n = t.x.dims[2], m = t.x.dims[3];
  const PartPeaks peaks(t.x, t.peak);
  gate_factors(device, peaks, t, a);
  float* least = device.scratch(1, padded(D));
  least_bases(least, D);
  const ShareLines lines(device, 2, 3 * (size_t)padded(D));
  const float *factor = f32(t.factor), *on = f32(t.on);
  float *y = f32(t.y), *inverse = f32(t.inverse);
  const float slope = a.beta / side_of(n, m), power = a.power;
  const float silence = (float)pow((double)a.tau, (double)a.power);
  parallel_for(device, t.x.dims[0], [=](int image, int worker) {
    const Cones cones(peaks, image, D, factor, least, lines.of(worker), slope, power);
    const float* own = on ? on + (long)image * peaks.stride : nullptr;
    for (int i = 0; i < n; i++) {
      for (int j = 0; j < m; j++) {
        Vec all = {}, kept = {};
        for (int d = 0; d < cones.padded_filters; d += VL) {
          const Vec e = cones.strength(d, cones.base(d, i, j));
          all += e;
          if (own) kept += e * load(own + d);
        }
        float sum = 0, part = 0;
        for (int lane = 0; lane < VL; lane++) sum += all[lane], part += kept[lane];
        const float share = 1 / (sum + silence);
        const long at = ((long)image * n * m + (long)i * m + j) * BLOCK;
        for (int c = 0; c < BLOCK; c++)
          y[at + c] = inverse[at + c] = 0;  // one channel, 15 of padding
        y[at] = (own ? part : sum) * share;
        inverse[at] = share;
      }
    }
  });
}

void part_gates_backward(Device& device, const part_gates_backward_args& t, const ConeAttrs& a) {
  const int D = t.x.dims[1], n = t.x.dims[2], m = t.x.dims[3];
  const PartPeaks peaks(t.x, t.peak);
  float* least = device.scratch(1, padded(D));
  least_bases(least, D);
  const ShareLines lines(device, 2, 3 * (size_t)padded(D));
  const float *factor = f32(t.factor), *on = f32(t.on);
  const float *g = f32(t.g), *y = f32(t.y), *inverse = f32(t.inverse);
  float* dx = f32(t.dx);
  const float slope = a.beta / side_of(n, m), power = a.power;
  parallel_for(device, t.x.dims[0], [=](int image, int worker) {
    const Cones cones(peaks, image, D, factor, least, lines.of(worker), slope, power);
    const float* own = on ? on + (long)image * peaks.stride : nullptr;
    const long image_at = (long)image * peaks.cells * BLOCK;
    float* to = dx + image_at * peaks.blocks;
    memset(to, 0, sizeof(float) * peaks.cells * BLOCK * peaks.blocks);
    for (int d = 0; d < cones.padded_filters; d += VL) {
      const Vec is_on = own ? load(own + d) : splat(1);
      Vec sum = {};
      for (int i = 0; i < n; i++) {
        for (int j = 0; j < m; j++) {
          const long at = image_at + ((long)i * m + j) * BLOCK;
          const Vec base = cones.base(d, i, j), e = cones.strength(d, base);
          const Vec rise = e * ((is_on - y[at]) * (g[at] * inverse[at]));
          sum += base > LEAST_BASE ? rise : Vec{};
        }
      }
      for (int lane = 0; lane < VL && d + lane < D; lane++) {
        // a filter with a gradient has a base above 1e-6 somewhere, and so a peak above 0
        const float v = peaks.value(image, d + lane), rise = sum[lane];
        const long block = (long)((d + lane) / BLOCK) * peaks.cells;
        const long at = (block + peaks.cell(image, d + lane)) * BLOCK + (d + lane) % BLOCK;
        to[at] = v > 0 ? power * rise / v : 0;
      }
    }
  });
}

}  // namespace PL_ISA
}  // namespace partlens
