// concat: joins maps along the channels; backward splits.
//   in   a (N, A, H, W)  b (N, B, H, W)     out  y (N, A + B, H, W)
//   cost reads and writes each element once; memory bound
#include "../cuda_kernels.h"

namespace partlens {
namespace cuda {

// Channels `first` .. of `from` become channels 0 .. of `to`; padding of `to` becomes 0.
struct TakeChannels {
  const float* from;
  float* to;
  int first, from_pitch, channels, to_pitch;
  __device__ void operator()(long i) const {
    const int c = (int)(i % to_pitch);
    to[i] = c < channels ? from[i / to_pitch * from_pitch + first + c] : 0;
  }
};

struct JoinChannels {
  const float *a, *b;
  float* y;
  int A, B, pitch;
  __device__ void operator()(long i) const {
    const int c = (int)(i % pitch);
    const long row = i / pitch;
    y[i] = c < A ? a[row * padded(A) + c] : c < A + B ? b[row * padded(B) + c - A] : 0;
  }
};

void concat_forward(Device& device, const concat_forward_args& t, const NoAttrs&) {
  const int A = axes_of(t.a).channels, B = axes_of(t.b).channels;
  for_each(device, elements(t.y), JoinChannels{f32(t.a), f32(t.b), f32(t.y), A, B, padded(A + B)});
}

void concat_backward(Device& device, const concat_backward_args& t, const NoAttrs&) {
  const int pitch = axes_of(t.g).pitch(), A = axes_of(t.da).channels, B = axes_of(t.db).channels;
  if (t.da.data) {
    for_each(device, elements(t.da), TakeChannels{f32(t.g), f32(t.da), 0, pitch, A, padded(A)});
  }
  if (t.db.data) {
    const int first = axes_of(t.g).channels - B;
    for_each(device, elements(t.db), TakeChannels{f32(t.g), f32(t.db), first, pitch, B, padded(B)});
  }
}

}  // namespace cuda
}  // namespace partlens
