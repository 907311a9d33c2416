// concat: joins maps along the channels; backward splits.
//   in   a (N, A, H, W)  b (N, B, H, W)     out  y (N, A + B, H, W)
//   cost reads and writes each element once; whole blocks of 16 channels are copied at once
#include "../cpu_kernels.h"
#include "../simd/chunks.h"

namespace partlens {
namespace PL_ISA {

// Copies `count` channels of one image: from channel `source` of `from` to channel `target` of
// `to`.
static void copy_channels(const float* from, int source, float* to, int target, int count, int HW) {
  const long plane = (long)HW * BLOCK;
  for (int c = 0; c < count;) {
    const int s = source + c, d = target + c;
    const float* in = from + (s / BLOCK) * plane;
    float* out = to + (d / BLOCK) * plane;
    if (s % BLOCK == 0 && d % BLOCK == 0 && count - c >= BLOCK) {
      memcpy(out, in, sizeof(float) * plane);
      c += BLOCK;
      continue;
    }
    for (int i = 0; i < HW; i++) out[i * BLOCK + d % BLOCK] = in[i * BLOCK + s % BLOCK];
    c++;
  }
}

static void clear_last_block(float* image, int C, int HW) {
  if (C % BLOCK) memset(image + (long)(C / BLOCK) * HW * BLOCK, 0, sizeof(float) * HW * BLOCK);
}

void concat_forward(Device& device, const concat_forward_args& t, const NoAttrs&) {
  const int A = t.a.dims[1], B = t.b.dims[1], HW = t.a.dims[2] * t.a.dims[3];
  const float *a = f32(t.a), *b = f32(t.b);
  float* y = f32(t.y);
  parallel_for(device, t.a.dims[0], [=](int n, int) {
    float* out = y + (long)n * padded(A + B) * HW;
    clear_last_block(out, A + B, HW);
    copy_channels(a + (long)n * padded(A) * HW, 0, out, 0, A, HW);
    copy_channels(b + (long)n * padded(B) * HW, 0, out, A, B, HW);
  });
}

void concat_backward(Device& device, const concat_backward_args& t, const NoAttrs&) {
  const int C = t.g.dims[1], HW = t.g.dims[2] * t.g.dims[3];
  const float* g = f32(t.g);
  const PlTensor da = t.da, db = t.db;
  parallel_for(device, t.g.dims[0], [=](int n, int) {
    const float* in = g + (long)n * padded(C) * HW;
    if (da.data) {
      const int A = da.dims[1];
      float* out = f32(da) + (long)n * padded(A) * HW;
      clear_last_block(out, A, HW);
      copy_channels(in, 0, out, 0, A, HW);
    }
    if (db.data) {
      const int B = db.dims[1];
      float* out = f32(db) + (long)n * padded(B) * HW;
      clear_last_block(out, B, HW);
      copy_channels(in, C - B, out, 0, B, HW);
    }
  });
}

}  // namespace PL_ISA
}  // namespace partlens
