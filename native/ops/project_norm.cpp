// project_norm: w[o] *= norm[o] / |w[o]|, in place; a filter of zeros stays.
//   in   w (O, C, R, S)  norm (O)           out  w_out in the memory of w
//   grid one task per block of 16 filters
//   cost reads w twice, writes it once; memory bound
#include "../cpu_kernels.h"
#include "../simd/chunks.h"

namespace partlens {
namespace PL_ISA {

void project_norm(Device& device, const project_norm_args& t, const NoAttrs&) {
  const int O = t.w.dims[0];
  const long length = (long)padded(t.w.dims[1]) * t.w.dims[2] * t.w.dims[3];
  const float* norm = f32(t.norm);
  float* w = f32(t.w);
  parallel_for(device, blocks_of(O), [=](int block, int) {
    float* panel = w + block * length * BLOCK;
    double squares[BLOCK] = {};
    for (long k = 0; k < length; k++) {
      for (int o = 0; o < BLOCK; o++) {
        const double value = panel[k * BLOCK + o];
        squares[o] += value * value;
      }
    }
    float gain[BLOCK];
    for (int o = 0; o < BLOCK; o++) {
      const bool real = block * BLOCK + o < O && squares[o] > 0;
      gain[o] = real ? (float)(norm[block * BLOCK + o] / sqrt(squares[o])) : 1;
    }
    for (long k = 0; k < length; k++) {
      for (int o = 0; o < BLOCK; o++) panel[k * BLOCK + o] *= gain[o];
    }
  });
}

}  // namespace PL_ISA
}  // namespace partlens
