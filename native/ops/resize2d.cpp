// resize2d: y[p,q] = mix of x at (low, high) rows of p and (low, high) columns of q:
//   (1 - t) x[low] + t x[high] on each axis, t the share.
//   in   x (N, C, H, W)  tables: low, high int32, share float32, of (P) rows and (Q) columns
//   out  y (N, C, P, Q)
//   grid one task per image and block of 16 channels
//   cost reads four cells for each of y; backward adds to them in the order of y
//   An index outside the map counts as the nearest inside. A share of 0 reads `low` alone.
#include "../cpu_kernels.h"
#include "../simd/chunks.h"

namespace partlens {
namespace PL_ISA {

struct ResizeTable {
  const int *low, *high;
  const float* share;
  int size;

  ResizeTable(const PlTensor& low, const PlTensor& high, const PlTensor& share, int size)
      : low(i32(low)), high(i32(high)), share(f32(share)), size(size) {}

  int inside(int i) const { return i < 0 ? 0 : i < size ? i : size - 1; }
  int lower(int p) const { return inside(low[p]); }
  int upper(int p) const { return inside(high[p]); }
};

static inline float resize_mix(float low, float high, float share) {
  return share == 0 ? low : (1 - share) * low + share * high;
}

void resize2d_forward(Device& device, const resize2d_forward_args& t, const NoAttrs&) {
  const int H = t.x.dims[2], W = t.x.dims[3], P = t.y.dims[2], Q = t.y.dims[3];
  const ResizeTable rows(t.row_low, t.row_high, t.row_share, H);
  const ResizeTable columns(t.column_low, t.column_high, t.column_share, W);
  const float* x = f32(t.x);
  float* y = f32(t.y);
  parallel_for(device, t.x.dims[0] * blocks_of(t.x.dims[1]), [=](int task, int) {
    const float* map = x + (long)task * H * W * BLOCK;
    float* out = y + (long)task * P * Q * BLOCK;
    for (int p = 0; p < P; p++) {
      const float* above = map + (long)rows.lower(p) * W * BLOCK;
      const float* below = map + (long)rows.upper(p) * W * BLOCK;
      const float t = rows.share[p];
      for (int q = 0; q < Q; q++, out += BLOCK) {
        const int left = columns.lower(q) * BLOCK, right = columns.upper(q) * BLOCK;
        const float u = columns.share[q];
        for (int c = 0; c < BLOCK; c++) {
          const float upper = resize_mix(above[left + c], above[right + c], u);
          const float lower = resize_mix(below[left + c], below[right + c], u);
          out[c] = resize_mix(upper, lower, t);
        }
      }
    }
  });
}

void resize2d_backward(Device& device, const resize2d_backward_args& t, const NoAttrs&) {
  const int H = t.dx.dims[2], W = t.dx.dims[3], P = t.g.dims[2], Q = t.g.dims[3];
  const ResizeTable rows(t.row_low, t.row_high, t.row_share, H);
  const ResizeTable columns(t.column_low, t.column_high, t.column_share, W);
  const float* g = f32(t.g);
  float* dx = f32(t.dx);
  parallel_for(device, t.dx.dims[0] * blocks_of(t.dx.dims[1]), [=](int task, int) {
    const float* from = g + (long)task * P * Q * BLOCK;
    float* map = dx + (long)task * H * W * BLOCK;
    memset(map, 0, sizeof(float) * H * W * BLOCK);
    for (int p = 0; p < P; p++) {
      float* above = map + (long)rows.lower(p) * W * BLOCK;
      float* below = map + (long)rows.upper(p) * W * BLOCK;
      const float t = rows.share[p];
      for (int q = 0; q < Q; q++, from += BLOCK) {
        const int left = columns.lower(q) * BLOCK, right = columns.upper(q) * BLOCK;
        const float u = columns.share[q];
        for (int c = 0; c < BLOCK; c++) above[left + c] += (1 - t) * (1 - u) * from[c];
        for (int c = 0; c < BLOCK; c++) above[right + c] += (1 - t) * u * from[c];
        for (int c = 0; c < BLOCK; c++) below[left + c] += t * (1 - u) * from[c];
        for (int c = 0; c < BLOCK; c++) below[right + c] += t * u * from[c];
      }
    }
  });
}

}  // namespace PL_ISA
}  // namespace partlens
