// A value for each channel of maps or feature of rows, or one for all.
#pragma once
#include "../layout.h"
#include "vec.h"

namespace partlens {
namespace cuda {

// Of rows flattened from maps the values are in C, H, W order.
struct ChannelValues {
  const float* values;
  int pitch, cells;  // of the tensor whose channels they are for; cells: 1 unless it is flattened
  int channels;
  bool one;

  ChannelValues(const PlTensor& given, const PlTensor& x)
      : values(f32(given)),
        pitch(axes_of(x).pitch()),
        cells(x.layout == PL_ROWS ? axes_of(x).cells : 1),
        channels(axes_of(x).channels),
        one(features(given) == 1) {}

  // Those of group `i` of four elements, 0 in padding.
  __device__ float4 at(long i) const {
    const int c = (int)(i * 4 % pitch);
    if (one) return make_float4(values[0], values[0], values[0], values[0]);
    if (cells == 1) return load4(values + c);
    const int cell = (int)(i * 4 / pitch % cells);
    float4 v;
    v.x = values[(long)c * cells + cell];
    v.y = c + 1 < channels ? values[(long)(c + 1) * cells + cell] : 0;
    v.z = c + 2 < channels ? values[(long)(c + 2) * cells + cell] : 0;
    v.w = c + 3 < channels ? values[(long)(c + 3) * cells + cell] : 0;
    return v;
  }
};

}  // namespace cuda
}  // namespace partlens
