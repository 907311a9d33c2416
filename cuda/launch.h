// Launches: one place that starts kernels, so that the same sources run under an emulator.
//   launch(device, kernel, grid, block, shared bytes, arguments...)
// Kernels declare shared memory with PL_SHARED (static) and PL_DYNAMIC_SHARED.
#pragma once
#include "device.h"

#ifdef __CUDACC__
#define PL_SHARED(type, name, dims) __shared__ type name dims
#define PL_DYNAMIC_SHARED(type, name)                          \
  extern __shared__ __align__(1024) unsigned char pl_shared[]; \
  type* name = reinterpret_cast<type*>(pl_shared)
#else
#define PL_SHARED(type, name, dims) \
  typedef type name##_type dims;    \
  static char name##_key;           \
  auto& name = *::emulator::static_shared<name##_type>(&name##_key)
#define PL_DYNAMIC_SHARED(type, name) \
  type* name = reinterpret_cast<type*>(::emulator::worker->dynamic_shared)
#endif

namespace partlens {
namespace cuda {

constexpr size_t STATIC_SHARED_LIMIT = 48 << 10;  // more must be asked for
constexpr size_t SHARED_LIMIT = 99 << 10;         // a block's on every device since Ampere

template <class... Parameters, class... Arguments>
void launch(Device& device, void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared,
            Arguments... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  if (shared > STATIC_SHARED_LIMIT) {
    CUDA_TRY(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  static_cast<int>(shared)));
  }
#ifdef __CUDACC__
  kernel<<<grid, block, shared, device.stream()>>>(arguments...);
#else
  emulated_launch(grid, block, shared, device.stream(), [=] { kernel(arguments...); });
#endif
  CUDA_TRY(cudaGetLastError());
}

// Calls op(i) for i in 0..count-1.
template <class Op>
__global__ void __launch_bounds__(256) each_kernel(Op op, long count) {
  const long step = (long)gridDim.x * blockDim.x;
  for (long i = (long)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) op(i);
}

template <class Op>
void for_each(Device& device, long count, Op op) {
  constexpr int THREADS = 256;
  const long blocks = (count + THREADS - 1) / THREADS, most = 16L * device.multiprocessors();
  launch(device, each_kernel<Op>, dim3((unsigned)(blocks < most ? blocks : most)), dim3(THREADS), 0,
         op, count);
}

}  // namespace cuda
}  // namespace partlens
