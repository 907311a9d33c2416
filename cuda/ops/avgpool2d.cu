// avgpool2d: mean of each window; backward spreads g over the window.
//   in   x (N, C, H, W)                     out  y (N, C, P, Q)
//   grid four channels of one pixel per thread; backward gathers, so that it needs no atomics
//   cost reads each window once; memory bound
//   The divisor counts the cells inside the image, with count_include_pad those of the padding too;
//   what hangs over the padded image (ceil mode) never counts. [ONNX AveragePool]
#include "../cuda_kernels.h"

namespace partlens {
namespace cuda {

struct MeanWindows {
  int H, W;
  Pool2dAttrs a;

  // 1 / divisor of window (p, q).
  __device__ float share(int p, int q) const {
    const int top = p * a.stride_h - a.pad_top, left = q * a.stride_w - a.pad_left;
    const bool whole = a.count_include_pad != 0;
    const int y0 = whole ? top : max(top, 0), x0 = whole ? left : max(left, 0);
    const int y1 = min(top + a.kernel_h, whole ? H + a.pad_bottom : H);
    const int x1 = min(left + a.kernel_w, whole ? W + a.pad_right : W);
    return 1.0f / ((y1 - y0) * (x1 - x0));
  }
};

struct AveragePool {
  const float* x;
  float* y;
  int C, P, Q;
  MeanWindows windows;

  __device__ void operator()(long i) const {
    const Pool2dAttrs& a = windows.a;
    const int H = windows.H, W = windows.W, c = (int)(i % (C / 4)) * 4;
    const long pixel = i / (C / 4);
    const int q = (int)(pixel % Q), p = (int)(pixel / Q % P), n = (int)(pixel / Q / P);
    const int top = p * a.stride_h - a.pad_top, left = q * a.stride_w - a.pad_left;
    const int y1 = min(top + a.kernel_h, H), x1 = min(left + a.kernel_w, W);
    float4 sum = make_float4(0, 0, 0, 0);
    for (int h = max(top, 0); h < y1; h++) {
      for (int w = max(left, 0); w < x1; w++) {
        sum = add4(sum, load4(x + (((long)n * H + h) * W + w) * C + c));
      }
    }
    store4(y + i * 4, scale4(windows.share(p, q), sum));
  }
};

void avgpool2d_forward(Device& device, const avgpool2d_forward_args& t, const Pool2dAttrs& a) {
  const MeanWindows windows = {t.x.dims[2], t.x.dims[3], a};
  for_each(device, elements(t.y) / 4,
           AveragePool{f32(t.x), f32(t.y), padded(t.x.dims[1]), t.y.dims[2], t.y.dims[3], windows});
}

struct AveragePoolGradient {
  const float* g;
  float* dx;
  int C, P, Q;
  MeanWindows windows;

  __device__ void operator()(long i) const {
    const Pool2dAttrs& a = windows.a;
    const int H = windows.H, W = windows.W, c = (int)(i % (C / 4)) * 4;
    const long pixel = i / (C / 4);
    const int w = (int)(pixel % W), h = (int)(pixel / W % H), n = (int)(pixel / W / H);
    const int y = h + a.pad_top, x = w + a.pad_left;
    const int p0 = y < a.kernel_h ? 0 : (y - a.kernel_h) / a.stride_h + 1;
    const int q0 = x < a.kernel_w ? 0 : (x - a.kernel_w) / a.stride_w + 1;
    const int p1 = min(y / a.stride_h, P - 1), q1 = min(x / a.stride_w, Q - 1);
    float4 sum = make_float4(0, 0, 0, 0);
    for (int p = p0; p <= p1; p++) {
      for (int q = q0; q <= q1; q++) {
        const float4 v = load4(g + (((long)n * P + p) * Q + q) * C + c);
        sum = add4(sum, scale4(windows.share(p, q), v));
      }
    }
    store4(dx + i * 4, sum);
  }
};

void avgpool2d_backward(Device& device, const avgpool2d_backward_args& t, const Pool2dAttrs& a) {
  const MeanWindows windows = {t.dx.dims[2], t.dx.dims[3], a};
  for_each(device, elements(t.dx) / 4,
           AveragePoolGradient{f32(t.g), f32(t.dx), padded(t.dx.dims[1]), t.g.dims[2], t.g.dims[3],
                               windows});
}

}  // namespace cuda
}  // namespace partlens
