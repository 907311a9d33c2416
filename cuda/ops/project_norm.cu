// project_norm: w[o] *= norm[o] / |w[o]|, in place; a filter of zeros stays.
//   in   w (O, C, R, S)  norm (O)           out  w_out in the memory of w
//   grid one block of 256 threads per filter
//   cost reads w twice (once from the cache), writes it once; memory bound
#include "../cuda_kernels.h"

namespace partlens {
namespace cuda {

__global__ void __launch_bounds__(SUM_THREADS)
    project_norm_kernel(float* w, const float* norm, long length) {
  float* filter = w + blockIdx.x * length;
  double squares = 0;
  for (long k = threadIdx.x; k < length; k += SUM_THREADS) {
    squares += (double)filter[k] * filter[k];
  }
  squares = block_sum(squares);
  if (!(squares > 0)) return;
  const float gain = (float)(norm[blockIdx.x] / sqrt(squares));
  for (long k = threadIdx.x; k < length; k += SUM_THREADS) filter[k] *= gain;
}

void project_norm(Device& device, const project_norm_args& t, const NoAttrs&) {
  launch(device, project_norm_kernel, dim3(t.w.dims[0]), dim3(SUM_THREADS), 0, f32(t.w),
         (const float*)f32(t.norm), row_pitch(t.w));
}

}  // namespace cuda
}  // namespace partlens
