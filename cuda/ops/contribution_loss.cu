// contribution_loss: loss = -eta log p, p = sigmoid(w_p); dw_p = -g eta (1 - p).  [Zhang 2018]
//   in   w_p ()                             out  loss ()
#include "../cuda_kernels.h"

namespace partlens {
namespace cuda {

struct ContributionLoss {
  const float* w_p;
  float* loss;
  float eta;
  __device__ void operator()(long) const {
    const double w = *w_p, minus_log_p = w > 0 ? log1p(exp(-w)) : log1p(exp(w)) - w;
    store4(loss, make_float4((float)(eta * minus_log_p), 0, 0, 0));
  }
};

void contribution_loss_forward(Device& device, const contribution_loss_forward_args& t,
                               const EtaAttrs& a) {
  for_each(device, 1, ContributionLoss{f32(t.w_p), f32(t.loss), a.eta});
}

struct ContributionGradient {
  const float *g, *w_p;
  float* dw_p;
  float eta;
  __device__ void operator()(long) const {
    const double w = *w_p;
    store4(dw_p, make_float4((float)(-*g * eta / (1 + exp(w))), 0, 0, 0));
  }
};

void contribution_loss_backward(Device& device, const contribution_loss_backward_args& t,
                                const EtaAttrs& a) {
  for_each(device, 1, ContributionGradient{f32(t.g), f32(t.w_p), f32(t.dw_p), a.eta});
}

}  // namespace cuda
}  // namespace partlens
