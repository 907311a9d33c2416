// add: y = a + b; add_scaled: y = a + s b with a scalar s. With a gate: 0 where that is not above
// 0.
//   in   a, b any layout, s (), gate like a or none      out  y like a
//   cost reads two or three, writes one element each; memory bound
#include "../cpu_kernels.h"
#include "../simd/chunks.h"

namespace partlens {
namespace PL_ISA {

// y = sum(a, b) where the gate, if there, is open
template <class Sum>
static void add(Device& device, const PlTensor& a_, const PlTensor& b_, const PlTensor& gate_,
                const PlTensor& y_, Sum sum) {
  const float *a = f32(a_), *b = f32(b_), *gate = f32(gate_);
  float* y = f32(y_);
  for_chunks(device, elements(y_), [=](long begin, long end, int) {
    if (!gate) {
      for (long i = begin; i < end; i++) y[i] = sum(a[i], b[i]);
      return;
    }
    for (long i = begin; i < end; i++) {
      const float whole = sum(a[i], b[i]);
      y[i] = gate[i] > 0 ? whole : 0;
    }
  });
}

void add_forward(Device& device, const add_forward_args& t, const NoAttrs&) {
  add(device, t.a, t.b, t.gate, t.y, [](float a, float b) { return a + b; });
}

void add_scaled(Device& device, const add_scaled_args& t, const RoundAttrs&) {
  const float s = f32(t.s)[0];
  add(device, t.a, t.b, t.gate, t.y, [=](float a, float b) { return a + s * b; });
}

}  // namespace PL_ISA
}  // namespace partlens
