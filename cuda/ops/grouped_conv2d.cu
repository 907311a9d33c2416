// grouped_conv2d: conv2d in groups of channels; and its gradient with respect to x.
//   in   x (N, C, H, W)  w (O, C / groups, R, S)  b (O) or none          out  y (N, O, P, Q)
//   grid one output of one pixel per thread, channels side by side: a warp reads the same few
//        channels of x, and each filter stays in the cache
//   cost 2 R S C / groups flop per output, on the CUDA cores
#include "epilogue.h"

namespace partlens {
namespace cuda {

struct GroupedSizes {
  int C, H, W, O, P, Q, R, S;  // C and O without padding
  int inputs, outputs;         // channels of one group on both sides
  GroupedConv2dAttrs a;

  // Where the filter of output o begins for tap (r, s).
  __device__ long filter(int o, int r, int s) const {
    return (((long)o * R + r) * S + s) * padded(inputs);
  }
};

struct GroupedForward {
  const float *x, *w, *b;  // b or nullptr
  float* y;
  GroupedSizes v;

  __device__ void operator()(long i) const {
    const int pitch = padded(v.O), o = (int)(i % pitch);
    const long pixel = i / pitch, row = pixel / v.Q;
    if (o >= v.O) {
      y[i] = 0;
      return;
    }
    const int p = (int)(row % v.P), q = (int)(pixel % v.Q), C = padded(v.C);
    const float* image = x + row / v.P * v.H * v.W * C + o / v.outputs * v.inputs;
    float sum = b ? b[o] : 0;
    for (int r = 0; r < v.R; r++) {
      const int h = p * v.a.stride_h + r * v.a.dilation_h - v.a.pad_top;
      if (h < 0 || h >= v.H) continue;
      for (int s = 0; s < v.S; s++) {
        const int at = q * v.a.stride_w + s * v.a.dilation_w - v.a.pad_left;
        if (at < 0 || at >= v.W) continue;
        const float *cell = image + ((long)h * v.W + at) * C, *filter = w + v.filter(o, r, s);
        for (int k = 0; k < v.inputs; k++) sum += cell[k] * filter[k];
      }
    }
    y[i] = v.a.relu && sum <= 0 ? 0 : sum;
  }
};

struct GroupedBackward {
  const float *g, *w;
  float* dx;
  GroupedSizes v;

  __device__ void operator()(long i) const {
    const int pitch = padded(v.C), c = (int)(i % pitch);
    const long pixel = i / pitch, row = pixel / v.W;
    if (c >= v.C) {
      dx[i] = 0;
      return;
    }
    const int y = (int)(row % v.H) + v.a.pad_top, x = (int)(pixel % v.W) + v.a.pad_left;
    const int O = padded(v.O), first = c / v.inputs * v.outputs, k = c % v.inputs;
    const float* image = g + row / v.H * v.P * v.Q * O;
    float sum = 0;
    for (int r = 0; r < v.R; r++) {
      const int down = y - r * v.a.dilation_h, p = down / v.a.stride_h;
      if (down < 0 || down % v.a.stride_h || p >= v.P) continue;
      for (int s = 0; s < v.S; s++) {
        const int over = x - s * v.a.dilation_w, q = over / v.a.stride_w;
        if (over < 0 || over % v.a.stride_w || q >= v.Q) continue;
        const float* cell = image + ((long)p * v.Q + q) * O;
        for (int o = first; o < first + v.outputs; o++) sum += cell[o] * w[v.filter(o, r, s) + k];
      }
    }
    dx[i] = sum;
  }
};

static GroupedSizes sizes_of(const PlTensor& x, const PlTensor& w, const PlTensor& y,
                             const GroupedConv2dAttrs& a) {
  const int C = x.dims[1], O = y.dims[1];
  return {C,         x.dims[2],    x.dims[3],    O, y.dims[2], y.dims[3], w.dims[2],
          w.dims[3], C / a.groups, O / a.groups, a};
}

void grouped_conv2d_forward(Device& device, const grouped_conv2d_forward_args& t,
                            const GroupedConv2dAttrs& a) {
  for_each(device, elements(t.y),
           GroupedForward{f32(t.x), f32(t.w), f32(t.b), f32(t.y), sizes_of(t.x, t.w, t.y, a)});
  end_convolution(device, t.y, t.residual, a.activation, a.alpha, a.beta);
}

void grouped_conv2d_backward_data(Device& device, const grouped_conv2d_backward_data_args& t,
                                  const GroupedConv2dAttrs& a) {
  for_each(device, elements(t.dx),
           GroupedBackward{f32(t.g), f32(t.w), f32(t.dx), sizes_of(t.dx, t.w, t.g, a)});
}

}  // namespace cuda
}  // namespace partlens
