// resize2d: y[p,q] = mix of x at (low, high) rows of p and (low, high) columns of q:
//   (1 - t) x[low] + t x[high] on each axis, t the share.
//   in   x (N, C, H, W)  tables: low, high int32, share float32, of (P) rows and (Q) columns
//   out  y (N, C, P, Q)
//   grid four channels of one pixel per thread; backward gathers, so that it needs no atomics
//   cost reads four cells for each of y; backward looks at the cells of y from the first to the
//   last that reads one of x, few where the tables rise An index outside the map counts as the
//   nearest inside. A share of 0 reads `low` alone.
#include "../cuda_kernels.h"

namespace partlens {
namespace cuda {

struct ResizeTable {
  const int *low, *high;
  const float* share;
  int size, count;

  __device__ int inside(int i) const { return max(0, min(i, size - 1)); }
  __device__ int lower(int p) const { return inside(low[p]); }
  __device__ int upper(int p) const { return inside(high[p]); }
  // How much of cell i of x is in cell p of y.
  __device__ float weight(int p, int i) const {
    return (lower(p) == i ? 1 - share[p] : 0) + (upper(p) == i ? share[p] : 0);
  }
  __device__ bool reads(int p, int i) const { return lower(p) == i || upper(p) == i; }
};

static ResizeTable resize_table(const PlTensor& low, const PlTensor& high, const PlTensor& share,
                                int size) {
  return {i32(low), i32(high), f32(share), size, features(low)};
}

__device__ inline float4 resize_mix(float4 low, float4 high, float share) {
  return share == 0 ? low : add4(scale4(1 - share, low), scale4(share, high));
}

struct ResizeMaps {
  const float* x;
  float* y;
  ResizeTable rows, columns;
  int fours;
  __device__ float4 row(const float* from, int left, int right, float u) const {
    const long pitch = fours * 4L;
    return resize_mix(load4(from + left * pitch), load4(from + right * pitch), u);
  }
  __device__ void operator()(long i) const {
    const int c = (int)(i % fours) * 4;
    const long pixel = i / fours;
    const int q = (int)(pixel % columns.count), p = (int)(pixel / columns.count % rows.count);
    const long n = pixel / columns.count / rows.count, pitch = columns.size * (fours * 4L);
    const float* map = x + n * rows.size * pitch + c;
    const int left = columns.lower(q), right = columns.upper(q);
    const float t = rows.share[p], u = columns.share[q];
    const float4 upper = row(map + rows.lower(p) * pitch, left, right, u);
    const float4 lower = row(map + rows.upper(p) * pitch, left, right, u);
    store4(y + i * 4, resize_mix(upper, lower, t));
  }
};

void resize2d_forward(Device& device, const resize2d_forward_args& t, const NoAttrs&) {
  const ResizeTable rows = resize_table(t.row_low, t.row_high, t.row_share, t.x.dims[2]);
  const ResizeTable columns =
      resize_table(t.column_low, t.column_high, t.column_share, t.x.dims[3]);
  for_each(device, elements(t.y) / 4,
           ResizeMaps{f32(t.x), f32(t.y), rows, columns, padded(t.x.dims[1]) / 4});
}

// range[2 i], range[2 i + 1]: first and last cell of y that reads cell i of x; an empty range is 0,
// -1.
struct ResizeRanges {
  ResizeTable table;
  int* range;
  __device__ void operator()(long i) const {
    int first = 0, last = -1;
    for (int p = 0; p < table.count; p++) {
      if (!table.reads(p, (int)i)) continue;
      if (last < 0) first = p;
      last = p;
    }
    range[2 * i] = first;
    range[2 * i + 1] = last;
  }
};

struct ResizeMapsGradient {
  const float* g;
  float* dx;
  ResizeTable rows, columns;
  const int *row_range, *column_range;
  int fours;
  __device__ void operator()(long i) const {
    const int c = (int)(i % fours) * 4;
    const long pixel = i / fours;
    const int w = (int)(pixel % columns.size), h = (int)(pixel / columns.size % rows.size);
    const long n = pixel / columns.size / rows.size;
    float4 sum = make_float4(0, 0, 0, 0);
    for (int p = row_range[2 * h]; p <= row_range[2 * h + 1]; p++) {
      if (!rows.reads(p, h)) continue;
      const float* from = g + (n * rows.count + p) * columns.count * (fours * 4L) + c;
      for (int q = column_range[2 * w]; q <= column_range[2 * w + 1]; q++) {
        if (!columns.reads(q, w)) continue;
        const float weight = rows.weight(p, h) * columns.weight(q, w);
        sum = add4(sum, scale4(weight, load4(from + q * (fours * 4L))));
      }
    }
    store4(dx + i * 4, sum);
  }
};

void resize2d_backward(Device& device, const resize2d_backward_args& t, const NoAttrs&) {
  const int H = t.dx.dims[2], W = t.dx.dims[3];
  const ResizeTable rows = resize_table(t.row_low, t.row_high, t.row_share, H);
  const ResizeTable columns = resize_table(t.column_low, t.column_high, t.column_share, W);
  int* range = device.scratch<int>(INDEX_SLOT, 2 * ((size_t)H + W));
  for_each(device, H, ResizeRanges{rows, range});
  for_each(device, W, ResizeRanges{columns, range + 2 * H});
  for_each(device, elements(t.dx) / 4,
           ResizeMapsGradient{f32(t.g), f32(t.dx), rows, columns, range, range + 2 * H,
                              padded(t.dx.dims[1]) / 4});
}

}  // namespace cuda
}  // namespace partlens
