// Which lanes of a row hold features: all but the last channels of each cell if it was maps.
#pragma once
#include "../simd/layout.h"

namespace partlens {
namespace PL_ISA {

struct RowLanes {
  int channels, cells;

  template <class Body>
  void each(Body body) const {
    for (int c = 0; c < channels; c += BLOCK) {
      const int wide = channels - c < BLOCK ? channels - c : BLOCK;
      for (int cell = 0; cell < cells; cell++) {
        const int first = c * cells + cell * BLOCK;
        for (int i = first; i < first + wide; i++) body(i);
      }
    }
  }
  // Where feature f lies: features count cells within channels.
  int place(int f) const {
    const int c = f / cells, cell = f % cells;
    return c / BLOCK * BLOCK * cells + cell * BLOCK + c % BLOCK;
  }
};

static inline RowLanes row_lanes(const PlTensor& t) {
  return t.chw[0] > 0 ? RowLanes{t.chw[0], t.chw[1] * t.chw[2]} : RowLanes{features(t), 1};
}

}  // namespace PL_ISA
}  // namespace partlens
