// slice_maps: y[n,a,p,q] = x[n, first + a step, ...], with a first and a step for each axis.
//   in   x (N, C, H, W)                     out  y (N, A, P, Q)
//   grid one thread per element of what is written
//   cost reads and writes each element of y once; memory bound
//   Backward writes zeros where nothing was read. [ONNX Slice]
#include "../cuda_kernels.h"

namespace partlens {
namespace cuda {

// Places of one axis: of x for one of y, and back, -1 where there is none.
struct SliceAxis {
  int first, step, count;
  __device__ int from(int i) const { return first + i * step; }
  __device__ int back(int i) const {
    const int away = i - first, at = away / step;
    return away % step == 0 && at >= 0 && at < count ? at : -1;
  }
};

struct SliceMaps {
  const float* from;
  float* to;
  SliceAxis channels, rows, columns;
  int C, H, W;  // of `from`
  int A, P, Q;  // of `to`
  bool back;

  __device__ void operator()(long i) const {
    const int pitch = padded(A), a = (int)(i % pitch);
    const long pixel = i / pitch;
    const int q = (int)(pixel % Q), p = (int)(pixel / Q % P);
    const long n = pixel / Q / P;
    float v = 0;
    if (a < A) {
      const int c = back ? channels.back(a) : channels.from(a);
      const int h = back ? rows.back(p) : rows.from(p);
      const int w = back ? columns.back(q) : columns.from(q);
      if (c >= 0 && h >= 0 && w >= 0) v = from[((n * H + h) * W + w) * padded(C) + c];
    }
    to[i] = v;
  }
};

static void slice(Device& device, const PlTensor& from, const PlTensor& to, const PlTensor& y,
                  const SliceAttrs& a, bool back) {
  const SliceAxis channels = {a.channel_first, a.channel_step, y.dims[1]};
  const SliceAxis rows = {a.row_first, a.row_step, y.dims[2]};
  const SliceAxis columns = {a.column_first, a.column_step, y.dims[3]};
  for_each(device, elements(to),
           SliceMaps{f32(from), f32(to), channels, rows, columns, from.dims[1], from.dims[2],
                     from.dims[3], to.dims[1], to.dims[2], to.dims[3], back});
}

void slice_maps_forward(Device& device, const slice_maps_forward_args& t, const SliceAttrs& a) {
  slice(device, t.x, t.y, t.y, a, false);
}

void slice_maps_backward(Device& device, const slice_maps_backward_args& t, const SliceAttrs& a) {
  slice(device, t.g, t.dx, t.g, a, true);
}

}  // namespace cuda
}  // namespace partlens
