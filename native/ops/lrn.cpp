// lrn: y = x / (k + alpha / size * sum over the channel window of x^2)^beta.
//   in   x (N, C, H, W)                     out  y like x
//   cost one pow per element; the window slides over the channels of one pixel
//   Window of channel c: c - (size - 1) / 2 .. c + size / 2. [ONNX LRN]
#include "../cpu_kernels.h"
#include "../simd/chunks.h"

namespace partlens {
namespace PL_ISA {

static inline float channel(const float* pixel, int c, long plane) {
  return pixel[(c / BLOCK) * plane + c % BLOCK];
}

void lrn_forward(Device& device, const lrn_forward_args& t, const LrnAttrs& a) {
  const int C = t.x.dims[1], HW = t.x.dims[2] * t.x.dims[3];
  const long plane = (long)HW * BLOCK, image = plane * blocks_of(C);
  const float* x = f32(t.x);
  float* y = f32(t.y);
  const LrnAttrs attrs = a;
  parallel_for(device, t.x.dims[0] * HW, [=](int task, int) {
    const long at = task / HW * image + (long)(task % HW) * BLOCK;
    for (int c = 0; c < padded(C); c++) {
      float* out = y + at + (c / BLOCK) * plane + c % BLOCK;
      *out = 0;
      if (c >= C) continue;
      float sum = 0;
      for (int d = c - (attrs.size - 1) / 2; d <= c + attrs.size / 2; d++) {
        if (d < 0 || d >= C) continue;
        const float v = channel(x + at, d, plane);
        sum += v * v;
      }
      const float base = attrs.k + attrs.alpha / attrs.size * sum;
      *out = channel(x + at, c, plane) * powf(base, -attrs.beta);
    }
  });
}

// With s_c the base of channel c: dx_c = g_c s_c^-beta - 2 alpha beta / size * x_c * sum over the d
// whose window holds c of g_d y_d / s_d.
void lrn_backward(Device& device, const lrn_backward_args& t, const LrnAttrs& a) {
  const int C = t.x.dims[1], HW = t.x.dims[2] * t.x.dims[3];
  const long plane = (long)HW * BLOCK, image = plane * blocks_of(C);
  const float *g = f32(t.g), *x = f32(t.x), *y = f32(t.y);
  float* dx = f32(t.dx);
  const LrnAttrs attrs = a;
  float* base = device.scratch(0, (size_t)device.threads() * padded(C));
  parallel_for(device, t.x.dims[0] * HW, [=](int task, int worker) {
    const long at = task / HW * image + (long)(task % HW) * BLOCK;
    float* s = base + (long)worker * padded(C);
    for (int c = 0; c < C; c++) {
      float sum = 0;
      for (int d = c - (attrs.size - 1) / 2; d <= c + attrs.size / 2; d++) {
        if (d < 0 || d >= C) continue;
        const float v = channel(x + at, d, plane);
        sum += v * v;
      }
      s[c] = attrs.k + attrs.alpha / attrs.size * sum;
    }
    for (int c = 0; c < padded(C); c++) {
      float* out = dx + at + (c / BLOCK) * plane + c % BLOCK;
      *out = 0;
      if (c >= C) continue;
      float sum = 0;
      for (int d = c - attrs.size / 2; d <= c + (attrs.size - 1) / 2; d++) {
        if (d < 0 || d >= C) continue;
        sum += channel(g + at, d, plane) * channel(y + at, d, plane) / s[d];
      }
      *out = channel(g + at, c, plane) * powf(s[c], -attrs.beta) -
             2 * attrs.alpha * attrs.beta / attrs.size * channel(x + at, c, plane) * sum;
    }
  });
}

}  // namespace PL_ISA
}  // namespace partlens
