// linear_adam_step, linear_sgd_step: dw = g^T x and the optimizer's step in the product's epilogue:
// the gradient of a fully connected layer never reaches memory.
//   in   g (N, O)  x (N, F)  w, m, v (O, F)  hyper (3)
//   out  w_out, m_out, v_out in the memory of w, m, v
//   grid 128 x 128 tiles of w; K is the batch
//   cost memory bound: reads and writes each of w, m, v once instead of eight words per parameter
#include "../device/gemm.h"
#include "adam.h"
#include "sgd.h"

namespace partlens {
namespace cuda {

struct AdamEpilogue {
  float *w, *m, *v;
  long pitch;
  AdamRule rule;
  __device__ void operator()(int, int o, int f, float c0, float c1) const {
    const long at = o * pitch + f;
    float2* pw = reinterpret_cast<float2*>(w + at);
    float2* pm = reinterpret_cast<float2*>(m + at);
    float2* pv = reinterpret_cast<float2*>(v + at);
    float2 w2 = *pw, m2 = *pm, v2 = *pv;
    rule.step(c0, w2.x, m2.x, v2.x);
    rule.step(c1, w2.y, m2.y, v2.y);
    *pw = w2;
    *pm = m2;
    *pv = v2;
  }
};

struct SgdEpilogue {
  float *w, *v;
  long pitch;
  SgdRule rule;
  __device__ void operator()(int, int o, int f, float c0, float c1) const {
    const long at = o * pitch + f;
    float2* pw = reinterpret_cast<float2*>(w + at);
    float2* pv = reinterpret_cast<float2*>(v + at);
    float2 w2 = *pw, v2 = *pv;
    rule.step(c0, w2.x, v2.x);
    rule.step(c1, w2.y, v2.y);
    *pw = w2;
    *pv = v2;
  }
};

template <class Epilogue>
static void step(Device& device, const PlTensor& g_rows, const PlTensor& x_rows, int O,
                 const Epilogue& epilogue) {
  const int N = row_count(x_rows), F = (int)row_pitch(x_rows), pitch = (int)row_pitch(g_rows);
  const Dense<false> g = {f32(g_rows), pitch, 0, N, pitch}, x = {f32(x_rows), F, 0, N, F};
  gemm_at_precision<LargeTile>(device, g, x, epilogue, O, F, N);
}

void linear_adam_step(Device& device, const linear_adam_step_args& t, const AdamAttrs& a) {
  step(device, t.g, t.x, t.w.dims[0],
       AdamEpilogue{f32(t.w), f32(t.m), f32(t.v), row_pitch(t.w), {f32(t.hyper), a}});
}

void linear_sgd_step(Device& device, const linear_sgd_step_args& t, const SgdAttrs& a) {
  step(device, t.g, t.x, t.w.dims[0],
       SgdEpilogue{f32(t.w), f32(t.v), row_pitch(t.w), {f32(t.hyper), a}});
}

}  // namespace cuda
}  // namespace partlens
