// pad2d: maps with a margin: of one value, mirrored, of the nearest cell, or from the other side.
//   in   x (N, C, H, W)                     out  y (N, C, P, Q), P = H + top + bottom
//   grid one task per image and block of 16 channels
//   cost reads x, writes y once; backward adds what came from one cell in the order of y
//   A mirrored margin is narrower than the map, one from the other side no wider. [ONNX Pad]
#include "../cpu_kernels.h"
#include "../simd/chunks.h"

namespace partlens {
namespace PL_ISA {

// attribute `mode`
enum PadMode { PAD_CONSTANT, PAD_REFLECT, PAD_EDGE, PAD_WRAP };

// The cell of a side of `size` that cell i of it, counted beyond the ends, shows; -1: the value.
static inline int padded_from(int mode, int i, int size) {
  if (i >= 0 && i < size) return i;
  switch (mode) {
    case PAD_REFLECT:
      return i < 0 ? -i : 2 * (size - 1) - i;
    case PAD_EDGE:
      return i < 0 ? 0 : size - 1;
    case PAD_WRAP:
      return i < 0 ? i + size : i - size;
    default:
      return -1;
  }
}

void pad2d_forward(Device& device, const pad2d_forward_args& t, const PadAttrs& a) {
  const int C = t.x.dims[1], H = t.x.dims[2], W = t.x.dims[3], P = t.y.dims[2], Q = t.y.dims[3];
  const float* x = f32(t.x);
  float* y = f32(t.y);
  const PadAttrs k = a;
  parallel_for(device, t.x.dims[0] * blocks_of(C), [=](int task, int) {
    const float* map = x + (long)task * H * W * BLOCK;
    float* out = y + (long)task * P * Q * BLOCK;
    const int lanes = C - task % blocks_of(C) * BLOCK;
    float value[BLOCK];
    for (int c = 0; c < BLOCK; c++) value[c] = c < lanes ? k.value : 0;
    for (int p = 0; p < P; p++) {
      const int i = padded_from(k.mode, p - k.pad_top, H);
      for (int q = 0; q < Q; q++, out += BLOCK) {
        const int j = i < 0 ? -1 : padded_from(k.mode, q - k.pad_left, W);
        const float* from = j < 0 ? value : map + ((long)i * W + j) * BLOCK;
        memcpy(out, from, sizeof(float) * BLOCK);
      }
    }
  });
}

void pad2d_backward(Device& device, const pad2d_backward_args& t, const PadAttrs& a) {
  const int H = t.dx.dims[2], W = t.dx.dims[3], P = t.g.dims[2], Q = t.g.dims[3];
  const float* g = f32(t.g);
  float* dx = f32(t.dx);
  const PadAttrs k = a;
  parallel_for(device, t.dx.dims[0] * blocks_of(t.dx.dims[1]), [=](int task, int) {
    const float* from = g + (long)task * P * Q * BLOCK;
    float* map = dx + (long)task * H * W * BLOCK;
    memset(map, 0, sizeof(float) * H * W * BLOCK);
    for (int p = 0; p < P; p++) {
      const int i = padded_from(k.mode, p - k.pad_top, H);
      for (int q = 0; q < Q; q++, from += BLOCK) {
        const int j = i < 0 ? -1 : padded_from(k.mode, q - k.pad_left, W);
        if (j < 0) continue;
        float* cell = map + ((long)i * W + j) * BLOCK;
        for (int c = 0; c < BLOCK; c++) cell[c] += from[c];
      }
    }
  });
}

}  // namespace PL_ISA
}  // namespace partlens
