// Loops over maps or rows with a value for each channel (maps) or feature (rows).
#pragma once
#include "chunks.h"
#include "padding.h"

namespace partlens {
namespace PL_ISA {

// Blocks of 16 that share values: `blocks` of them follow each other, `cells` times each.
struct BlockRuns {
  long blocks, cells;
};
static inline BlockRuns block_runs(const PlTensor& x) {
  if (x.layout == PL_MAPS) return {blocks_of(x.dims[1]), (long)x.dims[2] * x.dims[3]};
  return {row_stride(x) / BLOCK, 1};
}

// body(begin, end, block): elements begin..end-1 of x have the values 16 * block .. 16 * block
// + 15.
template <class Body>
static void for_block_runs(Device& device, const PlTensor& x, Body body) {
  const BlockRuns runs = block_runs(x);
  for_chunks(device, elements(x), [=](long begin, long end, int) {
    const long run = BLOCK * runs.cells;
    long block = begin / run % runs.blocks;
    for (long at = begin; at < end;) {
      const long next = (at / run + 1) * run, stop = next < end ? next : end;
      body(at, stop, block);
      block = block + 1 < runs.blocks ? block + 1 : 0;
      at = stop;
    }
  });
}

// `values` (C) or (1) in the order of the blocks of x: its own memory where that is the order, else
// in a slot of scratch memory. Those of flattened rows are in C, H, W order.
static inline const float* block_values(Device& device, int slot, const PlTensor& values,
                                        const PlTensor& x) {
  const float* given = f32(values);
  const bool one = features(values) == 1, flat = x.layout != PL_MAPS && x.chw[0] > 0;
  if (!one && !flat) return given;
  const long count = BLOCK * block_runs(x).blocks;
  float* ordered = device.scratch(slot, count);
  const Channels size = channels_of(x);
  for (long i = 0; i < count; i++) {
    const long c = flat ? i / (BLOCK * size.cells) * BLOCK + i % BLOCK : i;
    const long cell = flat ? i / BLOCK % size.cells : 0;
    ordered[i] = c >= size.C ? 0 : one ? given[0] : given[c * size.cells + cell];
  }
  return ordered;
}

}  // namespace PL_ISA
}  // namespace partlens
