// lrn: y = x / (k + alpha / size * sum over the channel window of x^2)^beta.
//   in   x (N, C, H, W)                     out  y like x
//   grid one task per image and row of pixels
//   tile the channels of one pixel, contiguous, with zeros at both ends: window sums are shifted
//   adds cost reads x, writes y once; two square roots per element for beta = 0.75, else one pow
//   Window of channel c: c - (size - 1) / 2 .. c + size / 2. [ONNX LRN]
#include "../cpu_kernels.h"
#include "../simd/chunks.h"

namespace partlens {
namespace PL_ISA {

// Scratch of one thread: `lines` stretches of channels with room for the window at both ends.
struct Lines {
  float* memory;
  int before, length;  // zeros in front; floats in all

  float* line(int worker, int lines, int i) const {
    return memory + ((long)worker * lines + i) * length + before;
  }
};

static Lines make_lines(Device& device, int C, int size, int lines) {
  const int before = padded(size), length = 2 * before + padded(C);
  const size_t floats = (size_t)device.threads() * lines * length;
  float* memory = device.scratch(0, floats);
  memset(memory, 0, sizeof(float) * floats);
  return {memory, before, length};
}

// to[c] = k + share * sum of from[c - before .. c + after]
static void window_sum(const float* from, float* to, int C, int before, int after, float share,
                       float k) {
  for (int c0 = 0; c0 < C; c0 += BLOCK) {
    float sum[BLOCK] = {};
    for (int d = -before; d <= after; d++) {
      for (int c = 0; c < BLOCK; c++) sum[c] += from[c0 + c + d];
    }
    for (int c = 0; c < BLOCK; c++) to[c0 + c] = k + share * sum[c];
  }
}

// to[c] = s[c]^-beta
static void power(const float* s, float* to, int C, float beta) {
  if (beta == 0.75f) {
    for (int c = 0; c < C; c++) to[c] = 1 / (sqrtf(s[c]) * sqrtf(sqrtf(s[c])));
  } else if (beta == 0.5f) {
    for (int c = 0; c < C; c++) to[c] = 1 / sqrtf(s[c]);
  } else {
    for (int c = 0; c < C; c++) to[c] = powf(s[c], -beta);
  }
}

void lrn_forward(Device& device, const lrn_forward_args& t, const LrnAttrs& a) {
  const int H = t.x.dims[2], W = t.x.dims[3], Cp = padded(t.x.dims[1]);
  const long plane = (long)H * W * BLOCK, image = plane / BLOCK * Cp;
  const float* x = f32(t.x);
  float* y = f32(t.y);
  const LrnAttrs k = a;
  const Lines lines = make_lines(device, Cp, a.size, 2);
  parallel_for(device, t.x.dims[0] * H, [=](int task, int worker) {
    float *squares = lines.line(worker, 2, 0), *s = lines.line(worker, 2, 1);
    for (int w = 0; w < W; w++) {
      const long at = task / H * image + ((long)(task % H) * W + w) * BLOCK;
      for (int b = 0; b < Cp / BLOCK; b++) {
        const float* in = x + at + b * plane;
        for (int c = 0; c < BLOCK; c++) squares[b * BLOCK + c] = in[c] * in[c];
      }
      window_sum(squares, s, Cp, (k.size - 1) / 2, k.size / 2, k.alpha / k.size, k.k);
      power(s, s, Cp, k.beta);
      for (int b = 0; b < Cp / BLOCK; b++) {
        const float* in = x + at + b * plane;
        float* out = y + at + b * plane;
        for (int c = 0; c < BLOCK; c++) {
          // s is read whatever x is: GCC 12 mixes up the masks of loads under a condition (AVX2)
          const float v = in[c] * s[b * BLOCK + c];
          out[c] = in[c] == 0 ? 0 : v;
        }
      }
    }
  });
}

// With s_c the base of channel c: dx_c = g_c s_c^-beta - 2 alpha beta / size * x_c * sum over the d
// whose window holds c of g_d y_d / s_d.
void lrn_backward(Device& device, const lrn_backward_args& t, const LrnAttrs& a) {
  const int C = t.x.dims[1], H = t.x.dims[2], W = t.x.dims[3], Cp = padded(C);
  const long plane = (long)H * W * BLOCK, image = plane / BLOCK * Cp;
  const float *x = f32(t.x), *g = f32(t.g), *y = f32(t.y);
  float* dx = f32(t.dx);
  const LrnAttrs k = a;
  const Lines lines = make_lines(device, Cp, a.size, 3);
  parallel_for(device, t.x.dims[0] * H, [=](int task, int worker) {
    float *line = lines.line(worker, 3, 0), *s = lines.line(worker, 3, 1);
    float* rest = lines.line(worker, 3, 2);
    for (int w = 0; w < W; w++) {
      const long at = task / H * image + ((long)(task % H) * W + w) * BLOCK;
      for (int b = 0; b < Cp / BLOCK; b++) {
        const float* in = x + at + b * plane;
        for (int c = 0; c < BLOCK; c++) line[b * BLOCK + c] = in[c] * in[c];
      }
      window_sum(line, s, Cp, (k.size - 1) / 2, k.size / 2, k.alpha / k.size, k.k);
      for (int b = 0; b < Cp / BLOCK; b++) {
        const float *g_in = g + at + b * plane, *y_in = y + at + b * plane;
        for (int c = 0; c < BLOCK; c++) line[b * BLOCK + c] = g_in[c] * y_in[c] / s[b * BLOCK + c];
      }
      for (int c = C; c < Cp; c++) line[c] = 0;
      window_sum(line, rest, Cp, k.size / 2, (k.size - 1) / 2, 2 * k.alpha * k.beta / k.size, 0);
      power(s, s, Cp, k.beta);
      for (int b = 0; b < Cp / BLOCK; b++) {
        const float *g_in = g + at + b * plane, *x_in = x + at + b * plane;
        float* out = dx + at + b * plane;
        for (int c = 0; c < BLOCK; c++) {
          out[c] = g_in[c] * s[b * BLOCK + c] - x_in[c] * rest[b * BLOCK + c];
        }
      }
      for (int c = C; c < Cp; c++) dx[at + (c / BLOCK) * plane + c % BLOCK] = 0;
    }
  });
}

}  // namespace PL_ISA
}  // namespace partlens
