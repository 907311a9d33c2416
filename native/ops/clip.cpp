// clip: y = min(max(x, lo), hi); backward dx = g where lo < x < hi.
//   in   x rows or maps                     out  y like x
//   cost reads and writes each element once; memory bound
#include "../cpu_kernels.h"
#include "../simd/chunks.h"

namespace partlens {
namespace PL_ISA {

// Sets the lanes beyond the logical size to zero: clip moves 0 if lo > 0 or hi < 0.
static void clear_padding(Device& device, const PlTensor& t) {
  float* data = f32(t);
  const bool maps = t.layout == PL_MAPS || t.chw[0] > 0;
  const int C = t.layout == PL_MAPS ? t.dims[1] : t.chw[0] > 0 ? t.chw[0] : features(t);
  if (C % BLOCK == 0) return;
  const int cells = !maps ? 1 : t.layout == PL_MAPS ? t.dims[2] * t.dims[3] : t.chw[1] * t.chw[2];
  const int images = t.layout == PL_MAPS ? t.dims[0] : row_count(t);
  const long image = (long)padded(C) * cells;
  parallel_for(device, images, [=](int n, int) {
    float* block = data + n * image + (long)(C / BLOCK) * BLOCK * cells;
    for (int i = 0; i < cells; i++) {
      for (int c = C % BLOCK; c < BLOCK; c++) block[i * BLOCK + c] = 0;
    }
  });
}

void clip_forward(Device& device, const clip_forward_args& t, const ClipAttrs& a) {
  const float* x = f32(t.x);
  float* y = f32(t.y);
  const float lo = a.lo, hi = a.hi;
  for_chunks(device, elements(t.y), [=](long begin, long end, int) {
    for (long i = begin; i < end; i++) {
      const float above = x[i] < lo ? lo : x[i];
      y[i] = above > hi ? hi : above;
    }
  });
  if (lo > 0 || hi < 0) clear_padding(device, t.y);
}

void clip_backward(Device& device, const clip_backward_args& t, const ClipAttrs& a) {
  const float* g = f32(t.g);
  const float* x = f32(t.x);
  float* dx = f32(t.dx);
  const float lo = a.lo, hi = a.hi;
  for_chunks(device, elements(t.dx), [=](long begin, long end, int) {
    for (long i = begin; i < end; i++) dx[i] = x[i] > lo && x[i] < hi ? g[i] : 0;
  });
}

}  // namespace PL_ISA
}  // namespace partlens
