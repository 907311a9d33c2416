// linear: y = x w^T + b, optional ReLU; gradients with respect to data, weight and bias.
//   in   x (N, F)  w (O, F) as panels [O/16][F][16]  b (O) or none      out  y (N, O)
//   grid panels of outputs, times stretches of F where there are few outputs
//   tile N rows by 32 columns in registers; x in blocks [F/16][N][16]
//   cost reads w once; memory bound below about 32 rows
//   one core with AVX-512: 12544->1024, N=64: 13, 10 and 11 ms (forward, data, weight), together
//        2 times PyTorch 1.13
#include "../simd/chunks.h"
#include "linear_gradient.h"

namespace partlens {
namespace PL_ISA {

// Sums the parts in order, adds the bias, applies the ReLU.
static void join_parts(Device& device, const linear_forward_args& t, const float* parts, int count,
                       bool relu) {
  const int stride = row_stride(t.y);
  const long size = (long)row_count(t.y) * stride;
  const float* bias = t.b.data ? f32(t.b) : nullptr;
  float* y = f32(t.y);
  for_chunks(device, size, [=](long begin, long end, int) {
    for (long i = begin; i < end; i++) {
      float sum = bias ? bias[i % stride] : 0;
      for (int part = 0; part < count; part++) sum += parts[part * size + i];
      y[i] = relu && sum < 0 ? 0 : sum;
    }
  });
}

void linear_forward(Device& device, const linear_forward_args& t, const LinearAttrs& a) {
  const int N = row_count(t.x), stride = row_stride(t.x), out = row_stride(t.y);
  const int blocks = stride / BLOCK, panels = out / BLOCK;
  float* x = device.scratch(X_SLOT, (size_t)N * stride);
  block_rows(device, f32(t.x), N, stride, x);
  const int groups = (panels + TILE_PANELS - 1) / TILE_PANELS;
  // Few outputs, many features: parts of F are summed by different tasks.
  const int stretches = (blocks + STRETCH - 1) / STRETCH;
  int parts = groups >= 8 ? 1 : stretches < 16 / groups ? stretches : 16 / groups;
  if (parts < 1) parts = 1;
  const long size = (long)N * out;
  float* y = parts == 1 ? f32(t.y) : device.scratch(PART_SLOT, parts * size);
  const float *w = f32(t.w), *bias = t.b.data && parts == 1 ? f32(t.b) : nullptr;
  const bool relu = a.relu && parts == 1;
  parallel_for(device, groups * parts, [=](int task, int) {
    const int panel = task / parts * TILE_PANELS, part = task % parts;
    const int first = (int)((long)blocks * part / parts);
    const int last = (int)((long)blocks * (part + 1) / parts);
    int offsets[STRETCH];
    block_offsets(offsets, STRETCH, N);
    Tile tile;
    tile.offsets = offsets;
    tile.w_panel = (long)stride * BLOCK;
    tile.c = y + part * size + panel * BLOCK;
    tile.c_row = out;
    tile.c_panel = BLOCK;
    for (int b = first; b < last; b += STRETCH) {
      const int count = last - b < STRETCH ? last - b : STRETCH;
      const bool end = b + count == last;
      tile.a = x + (long)b * N * BLOCK;
      tile.full = count;
      tile.w = w + ((long)panel * stride + b * BLOCK) * BLOCK;
      tile.add = b > first;
      tile.bias = end && bias ? bias + panel * BLOCK : nullptr;
      tile.range = relu_range(end && relu);
      tile_rows(tile, N, panels_at(panel, panels));
    }
  });
  if (parts > 1) join_parts(device, t, y, parts, a.relu);
}

void linear_backward_data(Device& device, const linear_backward_data_args& t, const NoAttrs&) {
  const BlockedRows g(device, t.g, G_SLOT);
  data_gradient(device, g, f32(t.w), t.dx, [](int, int, int, int) {});
}

void linear_backward_weight(Device& device, const linear_backward_weight_args& t, const NoAttrs&) {
  const BlockedRows g(device, t.g, G_SLOT), x(device, t.x, X_SLOT);
  const long stride = x.stride;
  float* dw = f32(t.dw);
  for_gradient_blocks(device, g, x, [=](int panel, int panels, int b) {
    Outer outer = gradient_block(g, x, panel, b);
    outer.g = dw + (panel * stride + b * BLOCK) * BLOCK;
    outer.g_panel = stride * BLOCK;
    outer_product(outer, BLOCK, panels);
  });
}

void linear_backward_bias(Device& device, const linear_backward_bias_args& t, const NoAttrs&) {
  const int N = row_count(t.g), out = row_stride(t.g);
  const float* g = f32(t.g);
  float* db = f32(t.db);
  parallel_for(device, out / BLOCK, [=](int panel, int) {
    double sum[BLOCK] = {};
    for (int n = 0; n < N; n++) {
      const float* row = g + (long)n * out + panel * BLOCK;
      for (int o = 0; o < BLOCK; o++) sum[o] += row[o];
    }
    for (int o = 0; o < BLOCK; o++) db[panel * BLOCK + o] = (float)sum[o];
  });
}

}  // namespace PL_ISA
}  // namespace partlens
