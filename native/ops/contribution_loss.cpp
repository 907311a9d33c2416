// contribution_loss: loss = -eta log p, p = sigmoid(w_p); dw_p = -g eta (1 - p).  [Zhang 2018]
//   in   w_p ()                             out  loss ()
#include "../cpu_kernels.h"
#include "../simd/chunks.h"

namespace partlens {
namespace PL_ISA {

static void set_scalar(const PlTensor& t, double value) {
  memset(t.data, 0, sizeof(float) * BLOCK);
  f32(t)[0] = (float)value;
}

void contribution_loss_forward(Device& device, const contribution_loss_forward_args& t,
                               const EtaAttrs& a) {
  const double w = f32(t.w_p)[0];
  const double minus_log_p = w > 0 ? log1p(exp(-w)) : log1p(exp(w)) - w;
  set_scalar(t.loss, a.eta * minus_log_p);
}

void contribution_loss_backward(Device& device, const contribution_loss_backward_args& t,
                                const EtaAttrs& a) {
  const double w = f32(t.w_p)[0];
  set_scalar(t.dw_p, -f32(t.g)[0] * a.eta / (1 + exp(w)));
}

}  // namespace PL_ISA
}  // namespace partlens
