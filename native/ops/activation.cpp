// activation: y = f(x), one of the functions of activation.h; backward dx = f'(x) g.
//   in   x rows or maps                     out  y like x
//   cost reads one or two, writes one element each; memory bound but for log, power and softplus,
//        which go through double
#include "activation.h"

#include "../cpu_kernels.h"
#include "../simd/chunks.h"
#include "../simd/padding.h"

namespace partlens {
namespace PL_ISA {

void activation_forward(Device& device, const activation_forward_args& t,
                        const ActivationAttrs& a) {
  const float* x = f32(t.x);
  float* y = f32(t.y);
  const float alpha = a.alpha, beta = a.beta;
  with_activation(a.kind, [&](auto kind) {
    for_chunks(device, elements(t.y), [=](long begin, long end, int) {
      for (long i = begin; i < end; i += VL) {
        store(y + i, activate<decltype(kind)::VALUE>(load(x + i), alpha, beta));
      }
    });
  });
  if (moves_zero(a.kind)) clear_padding(device, t.y);
}

void activation_backward(Device& device, const activation_backward_args& t,
                         const ActivationAttrs& a) {
  const float *g = f32(t.g), *x = f32(t.x);
  float* dx = f32(t.dx);
  const float alpha = a.alpha, beta = a.beta;
  with_activation(a.kind, [&](auto kind) {
    for_chunks(device, elements(t.dx), [=](long begin, long end, int) {
      for (long i = begin; i < end; i += VL) {
        const Vec slope = activation_slope<decltype(kind)::VALUE>(load(x + i), alpha, beta);
        store(dx + i, slope * load(g + i));
      }
    });
  });
  // 0 times the infinite slope at 0 of log, sqrt, reciprocal and powers
  clear_padding(device, t.dx);
}

}  // namespace PL_ISA
}  // namespace partlens
