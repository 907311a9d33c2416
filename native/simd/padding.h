// Zeros for the lanes beyond the logical size, after a loop over flat memory that moved them.
#pragma once
#include "layout.h"

namespace partlens {
namespace PL_ISA {

// Channels, cells and images of maps and of rows; plain rows have one cell.
struct Channels {
  int images, C, cells;
  long image() const { return (long)padded(C) * cells; }
};
static inline Channels channels_of(const PlTensor& t) {
  if (t.layout == PL_MAPS) return {t.dims[0], t.dims[1], t.dims[2] * t.dims[3]};
  if (t.chw[0] > 0) return {row_count(t), t.chw[0], t.chw[1] * t.chw[2]};
  return {row_count(t), features(t), 1};
}

static inline void clear_padding(Device& device, const PlTensor& t) {
  const Channels size = channels_of(t);
  if (size.C % BLOCK == 0) return;
  float* data = f32(t);
  parallel_for(device, size.images, [=](int n, int) {
    float* block = data + n * size.image() + (long)(size.C / BLOCK) * BLOCK * size.cells;
    for (int i = 0; i < size.cells; i++) {
      for (int c = size.C % BLOCK; c < BLOCK; c++) block[i * BLOCK + c] = 0;
    }
  });
}

}  // namespace PL_ISA
}  // namespace partlens
