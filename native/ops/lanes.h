// Where the 16 lanes of a block come from: for ops that move channels about.
#pragma once
#include <string.h>

#include "../simd/layout.h"

namespace partlens {
namespace PL_ISA {

struct Lanes {
  long offset[BLOCK];  // of the lane's channel in an image; -1: none, the lane is 0
  long whole;          // offset of the block of the source that these lanes are, in order; or -1

  // channel(lane): the channel of the source, of C, or -1. `plane`: floats of one block of maps.
  template <class Channel>
  Lanes(int C, long plane, Channel channel) {
    const int first = channel(0);
    bool same = first >= 0 && first % BLOCK == 0;
    for (int lane = 0; lane < BLOCK; lane++) {
      const int c = channel(lane);
      offset[lane] = c < 0 ? -1 : c / BLOCK * plane + c % BLOCK;
      // Where the source has padding its lanes are 0 already.
      same = same && (c == first + lane || (c < 0 && first + lane >= C));
    }
    whole = same ? offset[0] : -1;
  }

  // Writes `count` cells, each `to_step` cells after the one before; those read are `step` apart.
  void copy(const float* from, int step, float* to, int to_step, int count) const {
    if (whole >= 0 && step == 1 && to_step == 1) {
      memcpy(to, from + whole, sizeof(float) * BLOCK * count);
      return;
    }
    for (int i = 0; i < count; i++, from += (long)step * BLOCK, to += (long)to_step * BLOCK) {
      if (whole >= 0) {
        memcpy(to, from + whole, sizeof(float) * BLOCK);
        continue;
      }
      for (int lane = 0; lane < BLOCK; lane++) {
        to[lane] = offset[lane] < 0 ? 0 : from[offset[lane]];
      }
    }
  }

  // Adds cells that lie side by side.
  void add(const float* from, float* to, int count) const {
    for (int lane = 0; lane < BLOCK; lane++) {
      if (offset[lane] < 0) continue;
      const float* in = from + offset[lane];
      for (int i = 0; i < count; i++) to[i * BLOCK + lane] += in[i * BLOCK];
    }
  }
};

}  // namespace PL_ISA
}  // namespace partlens
