#include "device.h"

#include <map>
#include <mutex>

namespace partlens {
namespace cuda {

// Errors after which, as CUDA documents them, the process must be started again.
static bool loses_device(cudaError_t error) {
  switch (error) {
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
      return true;
    default:
      return false;
  }
}

void check_call(cudaError_t error, const char* call, const char* file, int line) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // forgets it: the next launch asks
  const PlStatus status = error == cudaErrorMemoryAllocation ? PL_OUT_OF_MEMORY
                          : loses_device(error)              ? PL_DEVICE_LOST
                                                             : PL_ERROR;
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
  CUDA_TRY(cudaStreamCreateWithFlags(&copy_stream_, cudaStreamNonBlocking));
  for (Area& area : areas_) {
    CUDA_TRY(cudaEventCreateWithFlags(&area.filled, cudaEventDisableTiming));
    CUDA_TRY(cudaEventCreateWithFlags(&area.read, cudaEventDisableTiming));
  }
  for (cudaEvent_t& mark : marks_) {
    CUDA_TRY(cudaEventCreateWithFlags(&mark, cudaEventDisableTiming));
  }
}

// Errors of a lost device are of no use here.
Device::~Device() {
  cudaSetDevice(index_);
  cudaStreamSynchronize(copy_stream_);
  cudaStreamSynchronize(stream_);
  for (const Area& area : areas_) {
    cudaFree(area.memory);
    cudaEventDestroy(area.filled);
    cudaEventDestroy(area.read);
  }
  for (cudaEvent_t mark : marks_) cudaEventDestroy(mark);
  cudaStreamDestroy(copy_stream_);
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

void Device::clear(void* memory, size_t bytes) const {
  CUDA_TRY(cudaMemsetAsync(memory, 0, bytes, copy_stream_));
  CUDA_TRY(cudaStreamSynchronize(copy_stream_));
}

void* Device::begin_copy(const void* host, size_t bytes) {
  Area& area = areas_[area_];
  const size_t aligned = (bytes + 255) / 256 * 256;
  if (area.used + aligned > area.bytes) {
    // What lies in the area has been sent to its readers: when they are done it can go.
    CUDA_TRY(cudaStreamSynchronize(copy_stream_));
    CUDA_TRY(cudaStreamSynchronize(stream_));
    CUDA_TRY(cudaFree(area.memory));
    area.memory = nullptr;
    area.bytes = area.used = 0;
    const size_t wanted = 2 * aligned;
    CUDA_TRY(cudaMalloc(&area.memory, wanted));
    area.bytes = wanted;
  }
  if (area.used == 0) CUDA_TRY(cudaStreamWaitEvent(copy_stream_, area.read, 0));
  void* staged = static_cast<char*>(area.memory) + area.used;
  area.used += aligned;
  CUDA_TRY(cudaMemcpyAsync(staged, host, bytes, cudaMemcpyHostToDevice, copy_stream_));
  CUDA_TRY(cudaEventRecord(area.filled, copy_stream_));
  CUDA_TRY(cudaStreamWaitEvent(stream_, area.filled, 0));
  return staged;
}

void Device::end_copy() { CUDA_TRY(cudaEventRecord(areas_[area_].read, stream_)); }

int64_t Device::draw_ticket() {
  CUDA_TRY(cudaEventRecord(marks_[tickets_ % TICKETS], stream_));
  area_ = 1 - area_;
  areas_[area_].used = 0;
  return tickets_++;
}

void Device::wait(int64_t ticket) { CUDA_TRY(cudaEventSynchronize(marks_[ticket % TICKETS])); }

namespace {

struct HostPool {
  std::mutex mutex;
  std::multimap<size_t, void*> free;
  std::map<void*, size_t> sizes;

  static HostPool& all() {
    static HostPool* pool = new HostPool;  // outlives whatever is released last
    return *pool;
  }
};

}  // namespace

void* allocate_host(size_t bytes) {
  HostPool& pool = HostPool::all();
  std::lock_guard<std::mutex> lock(pool.mutex);
  const auto found = pool.free.lower_bound(bytes);
  if (found != pool.free.end() && found->first <= 2 * bytes + 4096) {
    void* memory = found->second;
    pool.free.erase(found);
    return memory;
  }
  const size_t rounded = (bytes + 4095) / 4096 * 4096 + (bytes == 0 ? 4096 : 0);
  void* memory = nullptr;
  cudaError_t status = cudaHostAlloc(&memory, rounded, cudaHostAllocDefault);
  if (status == cudaErrorMemoryAllocation) {  // what nobody uses may be in the way
    cudaGetLastError();
    for (const auto& entry : pool.free) {
      pool.sizes.erase(entry.second);
      cudaFreeHost(entry.second);
    }
    pool.free.clear();
    status = cudaHostAlloc(&memory, rounded, cudaHostAllocDefault);
  }
  CUDA_TRY(status);
  pool.sizes[memory] = rounded;
  return memory;
}

void release_host(void* memory) {
  if (!memory) return;
  HostPool& pool = HostPool::all();
  std::lock_guard<std::mutex> lock(pool.mutex);
  pool.free.emplace(pool.sizes.at(memory), memory);
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
