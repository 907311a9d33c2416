// Where maps have their peaks, and parts of the answer that a convolution's blocks find while they
// still hold what they store: mask_layer and mask_pool then need not read the maps for it.
//   parts  [tiles of PEAK_ROWS pixels][2][channels]: the peak among a tile's pixels, for the image
//          of its first pixel and for the next image; maps have at least as many cells
//   cost   4 bytes written for 128 of the maps; a block's part is read from shared memory
#pragma once
#include <climits>

#include "../layout.h"

namespace partlens {
namespace cuda {

constexpr int PEAK_ROWS = 64;

struct alignas(8) Peak {
  float value;
  int cell;

  static __device__ Peak none() { return {-INFINITY, INT_MAX}; }
  // The first of equal cells wins; a NaN never does.
  __device__ void take(float v, int i) {
    if (v > value || (v == value && i < cell)) {
      value = v;
      cell = i;
    }
  }
};

struct PeakParts {
  Peak* parts;  // or nullptr: there are none
  int cells, channels;
  Divisor by_cells;

  // From `rows` pixels of one channel, `pitch` apart; the first is the first of a tile.
  __device__ void store(const float* column, int pitch, int first, int rows, int channel) const {
    Peak* to = parts + (long)(first / PEAK_ROWS) * 2 * channels + channel;
    Peak best = Peak::none();
    int cell = first - by_cells.quotient(first) * cells;
    for (int i = 0; i < rows; i++) {
      best.take(column[i * pitch], cell);
      if (++cell < cells) continue;
      *to = best;
      to += channels;
      best = Peak::none();
      cell = 0;
    }
    if (cell > 0) *to = best;
  }

  // Tiles that hold pixels of an image, and its part of one.
  __device__ int first_tile(int image) const { return image * cells / PEAK_ROWS; }
  __device__ int end_tile(int image) const { return ((image + 1) * cells - 1) / PEAK_ROWS + 1; }
  __device__ const Peak* of(int image, int tile) const {
    const int second = by_cells.quotient(tile * PEAK_ROWS) < image;
    return parts + (long)(tile * 2 + second) * channels;
  }
};

// The parts of maps (images, channels, cells) in scratch memory, until the next call for others.
inline PeakParts peak_parts(Device& device, int images, int channels, int cells) {
  const size_t tiles = tiles_of(images * cells, PEAK_ROWS);
  Peak* parts = device.scratch<Peak>(PEAKS_SLOT, tiles * 2 * channels);
  return {parts, cells, channels, divisor(cells)};
}

}  // namespace cuda
}  // namespace partlens
