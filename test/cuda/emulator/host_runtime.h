// The part of the CUDA runtime that cuda/ calls. Work on a stream is done at once, unless the
// stream is being captured: then it is kept and done at each launch of the graph. "Device" memory
// is poisoned with NaN. For the tests of what happens then, EMULATOR_DEVICES=0 takes the device
// away, EMULATOR_MEMORY_MIB bounds its memory, EMULATOR_LOST_AFTER loses it after so many kernels.
#pragma once
#include <functional>
#include <map>
#include <mutex>

#include "block.h"

typedef enum {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorNoDevice = 100,
  cudaErrorLaunchFailure = 719
} cudaError_t;

struct EmulatedGraph {
  std::vector<std::function<void()>> work;
};
struct EmulatedStream {
  EmulatedGraph* capturing = nullptr;
};
typedef EmulatedStream* cudaStream_t;
typedef EmulatedGraph* cudaGraph_t;
typedef EmulatedGraph* cudaGraphExec_t;
typedef struct EmulatedEvent {
} * cudaEvent_t;

enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2 };
enum cudaStreamCaptureMode { cudaStreamCaptureModeThreadLocal = 1 };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
constexpr unsigned cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2, cudaHostAllocDefault = 0;

struct cudaDeviceProp {
  char name[256];
  int major, minor, multiProcessorCount;
  size_t totalGlobalMem, sharedMemPerBlockOptin;
};

namespace emulator {

struct Memory {
  std::mutex mutex;
  std::map<void*, size_t> blocks;
  size_t used = 0;
  size_t limit;
  Memory() {
    limit = strtoull(Settings::text("EMULATOR_MEMORY_MIB", "8192").c_str(), nullptr, 10) << 20;
  }
};
inline Memory& memory() {
  static Memory all;
  return all;
}

// What a launch or a copy reports, as the device would: at the next question.
inline thread_local std::string failure;

inline void count_kernel() {
  static const long last = atol(Settings::text("EMULATOR_LOST_AFTER", "-1").c_str());
  static std::atomic<long> calls{0};
  if (last >= 0 && calls++ >= last) throw std::runtime_error("unspecified launch failure");
}

inline void perform(cudaStream_t stream, std::function<void()> work) {
  if (stream && stream->capturing) {
    stream->capturing->work.push_back(std::move(work));
    return;
  }
  try {
    work();
  } catch (const std::exception& error) {
    if (failure.empty()) failure = error.what();
  }
}

}  // namespace emulator

inline const char* cudaGetErrorString(cudaError_t error) {
  if (error == cudaErrorLaunchFailure && !emulator::failure.empty())
    return emulator::failure.c_str();
  if (error == cudaErrorNoDevice) return "no CUDA-capable device is detected";
  return error == cudaErrorMemoryAllocation ? "out of memory" : "an error of the emulator";
}
// As on the device, an error of a launch stays: every later question gets it.
inline cudaError_t cudaGetLastError() {
  return emulator::failure.empty() ? cudaSuccess : cudaErrorLaunchFailure;
}

inline cudaError_t cudaGetDeviceCount(int* count) {
  *count = atoi(emulator::Settings::text("EMULATOR_DEVICES", "1").c_str());
  return *count > 0 ? cudaSuccess : cudaErrorNoDevice;
}
inline cudaError_t cudaSetDevice(int) { return cudaSuccess; }
inline cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int) {
  memset(p, 0, sizeof *p);
  strcpy(p->name, "CUDA emulator");
  p->major = 9;
  p->multiProcessorCount = 6;
  p->totalGlobalMem = emulator::memory().limit;
  p->sharedMemPerBlockOptin = 227 << 10;
  return cudaSuccess;
}
inline cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total) {
  *total = emulator::memory().limit;
  *free_bytes = *total - emulator::memory().used;
  return cudaSuccess;
}

inline cudaError_t cudaMalloc(void** out, size_t bytes) {
  auto& m = emulator::memory();
  std::lock_guard<std::mutex> lock(m.mutex);
  if (m.used + bytes > m.limit || posix_memalign(out, 256, bytes ? bytes : 1)) {
    return cudaErrorMemoryAllocation;
  }
  memset(*out, 0xFF, bytes);
  m.blocks[*out] = bytes;
  m.used += bytes;
  return cudaSuccess;
}
inline cudaError_t cudaFree(void* block) {
  auto& m = emulator::memory();
  std::lock_guard<std::mutex> lock(m.mutex);
  const auto found = m.blocks.find(block);
  if (found == m.blocks.end()) return block ? cudaErrorInvalidValue : cudaSuccess;
  m.used -= found->second;
  m.blocks.erase(found);
  free(block);
  return cudaSuccess;
}
inline cudaError_t cudaHostAlloc(void** out, size_t bytes, unsigned) {
  return posix_memalign(out, 256, bytes ? bytes : 1) ? cudaErrorMemoryAllocation : cudaSuccess;
}
inline cudaError_t cudaFreeHost(void* block) {
  free(block);
  return cudaSuccess;
}

inline cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind,
                                   cudaStream_t stream) {
  emulator::perform(stream, [=] { memcpy(to, from, bytes); });
  return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  emulator::perform(stream, [=] { memset(to, value, bytes); });
  return cudaSuccess;
}

inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new EmulatedStream;
  return cudaSuccess;
}
inline cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaGetLastError(); }
inline cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  stream->capturing = new EmulatedGraph;
  return cudaSuccess;
}
inline cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = stream->capturing;
  stream->capturing = nullptr;
  return cudaSuccess;
}
inline cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* ready, cudaGraph_t graph,
                                                 unsigned long long) {
  *ready = new EmulatedGraph(*graph);
  return cudaSuccess;
}
inline cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
  for (const auto& work : graph->work) emulator::perform(stream, work);
  return cudaGetLastError();
}
inline cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
inline cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) {
  delete graph;
  return cudaSuccess;
}

template <class Kernel>
cudaError_t cudaFuncSetAttribute(Kernel, cudaFuncAttribute, int bytes) {
  return bytes <= 227 << 10 ? cudaSuccess : cudaErrorInvalidValue;
}

// cuda/launch.h calls this.
template <class Body>
void emulated_launch(dim3 grid, dim3 block, size_t shared, cudaStream_t stream, Body body) {
  emulator::perform(stream, [=] {
    emulator::count_kernel();
    emulator::launch(grid, block, shared, body);
  });
}
