#include "device.h"

namespace partlens {
namespace cuda {

void check_call(cudaError_t error, const char* call, const char* file, int line) {
  if (error == cudaSuccess) return;
  const PlStatus status = error == cudaErrorMemoryAllocation ? PL_OUT_OF_MEMORY : PL_DEVICE_LOST;
  const char* name = file;
  for (const char* c = file; *c; c++) {
    if (*c == '/') name = c + 1;
  }
  throw CudaError(status, std::string(cudaGetErrorString(error)) + " (" + call + ", " + name + ":" +
                              std::to_string(line) + ")");
}

Device::Device(int index, PlPrecision precision) : index_(index), precision_(precision) {
  use();
  cudaDeviceProp properties;
  CUDA_TRY(cudaGetDeviceProperties(&properties, index));
  multiprocessors_ = properties.multiProcessorCount;
  hopper_ = properties.major == 9;
  CUDA_TRY(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
}

// Errors of a lost device are of no use here.
Device::~Device() {
  cudaSetDevice(index_);
  cudaStreamSynchronize(stream_);
  for (void* memory : scratch_) cudaFree(memory);
  for (void* memory : outgrown_) cudaFree(memory);
  cudaFreeHost(pinned_);
  cudaStreamDestroy(stream_);
}

void* Device::scratch(int slot, size_t bytes) {
  if (bytes <= capacity_[slot]) return scratch_[slot];
  const size_t wanted = bytes > 2 * capacity_[slot] ? bytes : 2 * capacity_[slot];
  void* grown = nullptr;
  CUDA_TRY(cudaMalloc(&grown, wanted));
  if (scratch_[slot]) outgrown_.push_back(scratch_[slot]);
  scratch_[slot] = grown;
  capacity_[slot] = wanted;
  scratch_bytes_ += wanted;
  return grown;
}

void* Device::pinned(size_t bytes) {
  if (bytes <= pinned_bytes_) return pinned_;
  CUDA_TRY(cudaStreamSynchronize(stream_));
  void* grown = nullptr;
  CUDA_TRY(cudaHostAlloc(&grown, bytes, cudaHostAllocDefault));
  cudaFreeHost(pinned_);
  pinned_ = grown;
  pinned_bytes_ = bytes;
  return pinned_;
}

}  // namespace cuda
}  // namespace partlens
