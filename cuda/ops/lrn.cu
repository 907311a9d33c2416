// lrn: y = x / s^beta, s = k + alpha / size * sum over the channel window of x^2.
//   in   x (N, C, H, W)                     out  y like x
//   grid one thread per element; the window comes from the cache
//   cost reads x once from memory, writes y once
//   Window of channel c: c - (size - 1) / 2 .. c + size / 2. [ONNX LRN]
#include "../cuda_kernels.h"

namespace partlens {
namespace cuda {

struct Lrn {
  const float* x;
  int channels, pitch;
  LrnAttrs a;

  __device__ float base(const float* pixel, int c) const {
    const int first = max(c - (a.size - 1) / 2, 0), last = min(c + a.size / 2, channels - 1);
    float sum = 0;
    for (int d = first; d <= last; d++) sum += pixel[d] * pixel[d];
    return a.k + a.alpha / a.size * sum;
  }
};

struct LrnForward : Lrn {
  float* y;
  __device__ void operator()(long i) const {
    const int c = (int)(i % pitch);
    const float v = x[i];
    y[i] = c >= channels || v == 0 ? 0 : v * powf(base(x + (i - c), c), -a.beta);
  }
};

void lrn_forward(Device& device, const lrn_forward_args& t, const LrnAttrs& a) {
  const Axes axes = axes_of(t.x);
  LrnForward op;
  op.x = f32(t.x), op.channels = axes.channels, op.pitch = axes.pitch(), op.a = a, op.y = f32(t.y);
  for_each(device, axes.elements(), op);
}

// dx_c = g_c s_c^-beta - 2 alpha beta / size * x_c * sum over the d whose window holds c of
// g_d y_d / s_d.
struct LrnBackward : Lrn {
  const float *g, *y;
  float* dx;
  __device__ void operator()(long i) const {
    const int c = (int)(i % pitch);
    if (c >= channels) {
      dx[i] = 0;
      return;
    }
    const long pixel = i - c;
    const int first = max(c - a.size / 2, 0), last = min(c + (a.size - 1) / 2, channels - 1);
    float sum = 0;
    for (int d = first; d <= last; d++) sum += g[pixel + d] * y[pixel + d] / base(x + pixel, d);
    const float direct = g[i] * powf(base(x + pixel, c), -a.beta);
    dx[i] = direct - 2 * a.alpha * a.beta / a.size * x[i] * sum;
  }
};

void lrn_backward(Device& device, const lrn_backward_args& t, const LrnAttrs& a) {
  const Axes axes = axes_of(t.x);
  LrnBackward op;
  op.x = f32(t.x), op.channels = axes.channels, op.pitch = axes.pitch(), op.a = a;
  op.g = f32(t.g), op.y = f32(t.y), op.dx = f32(t.dx);
  for_each(device, axes.elements(), op);
}

}  // namespace cuda
}  // namespace partlens
