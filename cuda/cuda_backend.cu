// The CUDA backend's entry. This version has the contract and the device check; its kernels, one
// file per op in cuda/ops/, follow.
#include <cuda_runtime.h>

#include "backend.h"

// The backend, or NULL with the reason why it cannot be used here.
extern "C" __attribute__((visibility("default"))) const PlBackend* pl_cuda_backend(
    const char** reason) {
  int count = 0;  // left as it is when there is no driver
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess) {
    *reason = cudaGetErrorString(status);
    return nullptr;
  }
  *reason = count == 0 ? "there is no CUDA device" : "this version has no CUDA kernels yet";
  return nullptr;
}
