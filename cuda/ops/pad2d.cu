// pad2d: maps with a margin: of one value, mirrored, of the nearest cell, or from the other side.
//   in   x (N, C, H, W)                     out  y (N, C, P, Q), P = H + top + bottom
//   grid four channels of one pixel per thread; backward gathers, so that it needs no atomics
//   cost reads x, writes y once; backward looks at every margin cell of a row and a column
//   A mirrored margin is narrower than the map, one from the other side no wider. [ONNX Pad]
#include "../cuda_kernels.h"

namespace partlens {
namespace cuda {

// attribute `mode`
enum PadMode { PAD_CONSTANT, PAD_REFLECT, PAD_EDGE, PAD_WRAP };

// One side: `size` cells of x between `before` and `after` others.
struct PadAxis {
  int mode, before, size, after;

  // The cell that cell p of y shows; -1: the value.
  __device__ int from(int p) const {
    const int i = p - before;
    if (i >= 0 && i < size) return i;
    if (mode == PAD_REFLECT) return i < 0 ? -i : 2 * (size - 1) - i;
    if (mode == PAD_EDGE) return i < 0 ? 0 : size - 1;
    if (mode == PAD_WRAP) return i < 0 ? i + size : i - size;
    return -1;
  }
  // The first cell of y from p on that shows cell i; its length if none does.
  __device__ int next(int p, int i) const {
    const int whole = before + size + after;
    if (mode == PAD_CONSTANT) return p <= before + i ? before + i : whole;
    for (; p < before; p++) {
      if (from(p) == i) return p;
    }
    if (p <= before + i) return before + i;
    for (p = max(p, before + size); p < whole; p++) {
      if (from(p) == i) return p;
    }
    return whole;
  }
  __device__ int length() const { return before + size + after; }
};

struct PadMaps {
  const float* x;
  float* y;
  PadAxis rows, columns;
  int C;
  float value;
  __device__ void operator()(long i) const {
    const int fours = padded(C) / 4, c = (int)(i % fours) * 4;
    const long pixel = i / fours;
    const int Q = columns.length(), P = rows.length();
    const int h = rows.from((int)(pixel / Q % P)), w = columns.from((int)(pixel % Q));
    float4 v =
        make_float4(value, c + 1 < C ? value : 0, c + 2 < C ? value : 0, c + 3 < C ? value : 0);
    if (h >= 0 && w >= 0) {
      const long row = pixel / Q / P * rows.size + h;
      v = load4(x + (row * columns.size + w) * padded(C) + c);
    }
    store4(y + i * 4, v);
  }
};

static PadAxis pad_rows(const PadAttrs& a, int H) { return {a.mode, a.pad_top, H, a.pad_bottom}; }
static PadAxis pad_columns(const PadAttrs& a, int W) {
  return {a.mode, a.pad_left, W, a.pad_right};
}

void pad2d_forward(Device& device, const pad2d_forward_args& t, const PadAttrs& a) {
  for_each(device, elements(t.y) / 4,
           PadMaps{f32(t.x), f32(t.y), pad_rows(a, t.x.dims[2]), pad_columns(a, t.x.dims[3]),
                   t.x.dims[1], a.value});
}

struct PadMapsGradient {
  const float* g;
  float* dx;
  PadAxis rows, columns;
  int C;
  __device__ void operator()(long i) const {
    const int fours = padded(C) / 4, c = (int)(i % fours) * 4;
    const long pixel = i / fours;
    const int w = (int)(pixel % columns.size), h = (int)(pixel / columns.size % rows.size);
    const long n = pixel / columns.size / rows.size;
    const int P = rows.length(), Q = columns.length();
    float4 sum = make_float4(0, 0, 0, 0);
    for (int p = rows.next(0, h); p < P; p = rows.next(p + 1, h)) {
      for (int q = columns.next(0, w); q < Q; q = columns.next(q + 1, w)) {
        sum = add4(sum, load4(g + ((n * P + p) * Q + q) * padded(C) + c));
      }
    }
    store4(dx + i * 4, sum);
  }
};

void pad2d_backward(Device& device, const pad2d_backward_args& t, const PadAttrs& a) {
  for_each(device, elements(t.dx) / 4,
           PadMapsGradient{f32(t.g), f32(t.dx), pad_rows(a, t.dx.dims[2]),
                           pad_columns(a, t.dx.dims[3]), t.dx.dims[1]});
}

}  // namespace cuda
}  // namespace partlens
