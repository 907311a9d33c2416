// What ends a convolution: y = f(y + residual), in place, by a pass of its own.
#pragma once
#include "../cuda_kernels.h"

namespace partlens {
namespace cuda {

// `activation`: 0 none, 1 ReLU, 2 clip to alpha..beta, 3 and above those of kinds.def that leave 0
// where it is.
void end_convolution(Device& device, const PlTensor& y, const PlTensor& residual, int activation,
                     float alpha, float beta);

}  // namespace cuda
}  // namespace partlens
