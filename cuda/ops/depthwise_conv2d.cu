// depthwise_conv2d: each channel with a filter of its own; and its gradient with respect to x.
//   in   x (N, C, H, W)  w (C, 1, R, S)  b (C) or none                  out  y (N, C, P, Q)
//   grid four channels of up to four neighbouring pixels of one row per thread: a tap is read once
//        for all four
//   cost 2 R S flop per output; memory bound, neighbouring windows meet in the cache
#include "epilogue.h"

namespace partlens {
namespace cuda {

static constexpr int PIXELS = 4;

struct DepthwiseSizes {
  int C, channels;  // with padding and without
  int H, W, P, Q, R, S;
  DepthwiseConv2dAttrs a;

  // Tap of four channels, which lie R S rows of four apart.
  __device__ float4 tap(const float* w, int c, int r, int s) const {
    const auto at = [&](int i) {
      return c + i < channels ? w[(((long)(c + i) * R + r) * S + s) * 4] : 0;
    };
    return make_float4(at(0), at(1), at(2), at(3));
  }
};

struct DepthwiseForward {
  const float *x, *w, *b;  // b or nullptr
  float* y;
  DepthwiseSizes v;

  __device__ void operator()(long i) const {
    const int steps = (v.Q + PIXELS - 1) / PIXELS, c = (int)(i % (v.C / 4)) * 4;
    const long place = i / (v.C / 4), row = place / steps;
    const int q0 = (int)(place % steps) * PIXELS, p = (int)(row % v.P);
    const float* image = x + row / v.P * v.H * v.W * v.C + c;
    float4 sum[PIXELS];
    for (float4& each : sum) each = b ? load4(b + c) : make_float4(0, 0, 0, 0);
    for (int r = 0; r < v.R; r++) {
      const int h = p * v.a.stride_h + r * v.a.dilation_h - v.a.pad_top;
      if (h < 0 || h >= v.H) continue;
      for (int s = 0; s < v.S; s++) {
        const float4 factor = v.tap(w, c, r, s);
        for (int k = 0; k < PIXELS; k++) {
          const int at = (q0 + k) * v.a.stride_w + s * v.a.dilation_w - v.a.pad_left;
          if (at < 0 || at >= v.W) continue;
          sum[k] = add4(sum[k], times4(factor, load4(image + ((long)h * v.W + at) * v.C)));
        }
      }
    }
    for (int k = 0; k < PIXELS && q0 + k < v.Q; k++) {
      if (v.a.relu) sum[k] = map4(sum[k], Positive());
      store4(y + (row * v.Q + q0 + k) * v.C + c, sum[k]);
    }
  }
  struct Positive {
    __device__ float operator()(float value) const { return value <= 0 ? 0 : value; }
  };
};

struct DepthwiseBackward {
  const float *g, *w;
  float* dx;
  DepthwiseSizes v;

  __device__ void operator()(long i) const {
    const int c = (int)(i % (v.C / 4)) * 4;
    const long pixel = i / (v.C / 4), row = pixel / v.W;
    const int y = (int)(row % v.H) + v.a.pad_top, x = (int)(pixel % v.W) + v.a.pad_left;
    const float* image = g + row / v.H * v.P * v.Q * v.C + c;
    float4 sum = make_float4(0, 0, 0, 0);
    for (int r = 0; r < v.R; r++) {
      const int down = y - r * v.a.dilation_h, p = down / v.a.stride_h;
      if (down < 0 || down % v.a.stride_h || p >= v.P) continue;
      for (int s = 0; s < v.S; s++) {
        const int over = x - s * v.a.dilation_w, q = over / v.a.stride_w;
        if (over < 0 || over % v.a.stride_w || q >= v.Q) continue;
        const float4 value = load4(image + ((long)p * v.Q + q) * v.C);
        sum = add4(sum, times4(v.tap(w, c, r, s), value));
      }
    }
    store4(dx + i * 4, sum);
  }
};

static DepthwiseSizes sizes_of(const PlTensor& x, const PlTensor& w, const PlTensor& y,
                               const DepthwiseConv2dAttrs& a) {
  return {padded(x.dims[1]), x.dims[1], x.dims[2], x.dims[3], y.dims[2],
          y.dims[3],         w.dims[2], w.dims[3], a};
}

void depthwise_conv2d_forward(Device& device, const depthwise_conv2d_forward_args& t,
                              const DepthwiseConv2dAttrs& a) {
  const DepthwiseSizes v = sizes_of(t.x, t.w, t.y, a);
  const long steps = (v.Q + PIXELS - 1) / PIXELS;
  for_each(device, t.y.dims[0] * (long)v.P * steps * (v.C / 4),
           DepthwiseForward{f32(t.x), f32(t.w), f32(t.b), f32(t.y), v});
  end_convolution(device, t.y, t.residual, a.activation, a.alpha, a.beta);
}

void depthwise_conv2d_backward_data(Device& device, const depthwise_conv2d_backward_data_args& t,
                                    const DepthwiseConv2dAttrs& a) {
  for_each(device, elements(t.dx) / 4,
           DepthwiseBackward{f32(t.g), f32(t.w), f32(t.dx), sizes_of(t.dx, t.w, t.g, a)});
}

}  // namespace cuda
}  // namespace partlens
