// The part of the CUDA runtime that cuda/ calls: streams, events, memory, captured graphs. "Device"
// memory is poisoned with NaN. For the tests of what happens then, EMULATOR_DEVICES=0 takes the
// device away, EMULATOR_DRIVER makes the driver an older one or (0) none, EMULATOR_MEMORY_MIB
// bounds its memory, EMULATOR_LOST_AFTER loses it after so many kernels, EMULATOR_COPIES=refused
// refuses copies.
#pragma once
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <set>

#include "block.h"

typedef enum {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInsufficientDriver = 35,
  cudaErrorNoDevice = 100,
  cudaErrorIllegalAddress = 700,
  cudaErrorLaunchTimeout = 702,
  cudaErrorAssert = 710,
  cudaErrorHardwareStackError = 714,
  cudaErrorIllegalInstruction = 715,
  cudaErrorMisalignedAddress = 716,
  cudaErrorInvalidAddressSpace = 717,
  cudaErrorInvalidPc = 718,
  cudaErrorLaunchFailure = 719,
  cudaErrorStreamCaptureUnsupported = 900,
  cudaErrorStreamCaptureInvalidated = 901
} cudaError_t;
#define CUDART_VERSION 13000

struct EmulatedGraph {
  std::vector<std::function<void()>> work;
  bool invalid = false;
};
// Work waits here until something on the host waits for it, as late as is legal. With
// EMULATOR_COPIES=early it is done at once; =ahead: at once on a stream that only copies.
struct EmulatedStream {
  EmulatedGraph* capturing = nullptr;
  bool computes = false;
  std::deque<std::function<void()>> queue;
  uint64_t issued = 0, done = 0;
};
struct EmulatedEvent {
  EmulatedStream* stream = nullptr;  // none: never recorded
  uint64_t position = 0;
};
typedef EmulatedStream* cudaStream_t;
typedef EmulatedGraph* cudaGraph_t;
typedef EmulatedGraph* cudaGraphExec_t;
typedef EmulatedEvent* cudaEvent_t;

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

// What went wrong on the device. As there, it stays: every later question gets it.
inline std::string& failure() {
  static std::string text;
  return text;
}

inline cudaError_t device_status() {
  return failure().empty() ? cudaSuccess : cudaErrorLaunchFailure;
}

inline void count_kernel() {
  static const long last = atol(Settings::text("EMULATOR_LOST_AFTER", "-1").c_str());
  static std::atomic<long> calls{0};
  if (last >= 0 && calls++ >= last) throw std::runtime_error("unspecified launch failure");
}

// What a call returns that fails; the thread's next cudaGetLastError returns it again.
inline cudaError_t& last_error() {
  static thread_local cudaError_t error = cudaSuccess;
  return error;
}
inline cudaError_t failed(cudaError_t error) { return last_error() = error; }

// What this thread captures. Allocating, freeing and waiting are not allowed meanwhile, as there.
inline EmulatedGraph*& capture() {
  static thread_local EmulatedGraph* graph = nullptr;
  return graph;
}
inline bool forbidden(EmulatedGraph* graph = capture()) {
  if (graph) graph->invalid = true;
  return graph != nullptr;
}

// Of all streams: CUDA's calls may come from any thread.
inline std::recursive_mutex& runtime() {
  static std::recursive_mutex mutex;
  return mutex;
}
inline std::set<EmulatedStream*>& streams() {
  static std::set<EmulatedStream*> all;
  return all;
}

// Does a stream's work up to a position.
inline void drain(EmulatedStream* stream, uint64_t position) {
  std::lock_guard<std::recursive_mutex> lock(runtime());
  while (streams().count(stream) && stream->done < position) {
    const std::function<void()> work = std::move(stream->queue.front());
    stream->queue.pop_front();
    stream->done++;
    try {
      if (failure().empty()) work();
    } catch (const std::exception& error) {
      failure() = error.what();
    }
  }
}
inline void drain(EmulatedStream* stream) { drain(stream, stream->issued); }
inline void drain_all() {
  std::lock_guard<std::recursive_mutex> lock(runtime());
  for (EmulatedStream* stream : std::set<EmulatedStream*>(streams())) drain(stream);
}

inline void perform(cudaStream_t stream, std::function<void()> work) {
  std::lock_guard<std::recursive_mutex> lock(runtime());
  if (stream->capturing) {
    stream->capturing->work.push_back(std::move(work));
    return;
  }
  stream->queue.push_back(std::move(work));
  stream->issued++;
  if (!settings().late_copies || (settings().copies_ahead && !stream->computes)) drain(stream);
}

}  // namespace emulator

inline const char* cudaGetErrorString(cudaError_t error) {
  if (error == cudaErrorLaunchFailure && !emulator::failure().empty())
    return emulator::failure().c_str();
  if (error == cudaErrorNoDevice) return "no CUDA-capable device is detected";
  if (error >= cudaErrorStreamCaptureUnsupported) return "not permitted when stream is capturing";
  return error == cudaErrorMemoryAllocation ? "out of memory" : "an error of the emulator";
}
inline cudaError_t cudaGetLastError() {
  const cudaError_t last = emulator::last_error();
  emulator::last_error() = cudaSuccess;
  return last;
}

inline cudaError_t cudaDriverGetVersion(int* version) {
  *version = atoi(emulator::Settings::text("EMULATOR_DRIVER", "13000").c_str());
  return cudaSuccess;
}
inline cudaError_t cudaGetDeviceCount(int* count) {
  int driver = 0;
  cudaDriverGetVersion(&driver);
  if (driver < CUDART_VERSION) return cudaErrorInsufficientDriver;
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
  if (emulator::forbidden()) return emulator::failed(cudaErrorStreamCaptureUnsupported);
  auto& m = emulator::memory();
  std::lock_guard<std::mutex> lock(m.mutex);
  if (m.used + bytes > m.limit || posix_memalign(out, 256, bytes ? bytes : 1)) {
    return emulator::failed(cudaErrorMemoryAllocation);
  }
  memset(*out, 0xFF, bytes);
  m.blocks[*out] = bytes;
  m.used += bytes;
  return cudaSuccess;
}
inline cudaError_t cudaFree(void* block) {
  if (emulator::forbidden()) return emulator::failed(cudaErrorStreamCaptureUnsupported);
  emulator::drain_all();
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
  if (emulator::forbidden()) return emulator::failed(cudaErrorStreamCaptureUnsupported);
  if (!posix_memalign(out, 256, bytes ? bytes : 1)) return cudaSuccess;
  return emulator::failed(cudaErrorMemoryAllocation);
}
inline cudaError_t cudaFreeHost(void* block) {
  free(block);
  return cudaSuccess;
}

inline cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind,
                                   cudaStream_t stream) {
  if (emulator::Settings::text("EMULATOR_COPIES", "late") == "refused")
    return emulator::failed(cudaErrorInvalidValue);
  emulator::perform(stream, [=] { memcpy(to, from, bytes); });
  return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  emulator::perform(stream, [=] { memset(to, value, bytes); });
  return cudaSuccess;
}

inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  std::lock_guard<std::recursive_mutex> lock(emulator::runtime());
  *stream = new EmulatedStream;
  emulator::streams().insert(*stream);
  return cudaSuccess;
}
inline cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  std::lock_guard<std::recursive_mutex> lock(emulator::runtime());
  emulator::drain(stream);
  emulator::streams().erase(stream);
  delete stream;
  return cudaSuccess;
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  // Nor may any other thread wait for a stream that is captured.
  if (emulator::forbidden() || emulator::forbidden(stream->capturing))
    return emulator::failed(cudaErrorStreamCaptureUnsupported);
  emulator::drain(stream);
  return emulator::device_status();
}

inline cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new EmulatedEvent;
  return cudaSuccess;
}
inline cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
inline cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  std::lock_guard<std::recursive_mutex> lock(emulator::runtime());
  *event = {stream, stream->issued};
  return cudaSuccess;
}
inline cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  std::lock_guard<std::recursive_mutex> lock(emulator::runtime());
  const EmulatedEvent then = *event;  // as it was recorded last
  if (then.stream) {
    emulator::perform(stream, [then] { emulator::drain(then.stream, then.position); });
  }
  return cudaSuccess;
}
inline cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (emulator::forbidden()) return emulator::failed(cudaErrorStreamCaptureUnsupported);
  if (event->stream) emulator::drain(event->stream, event->position);
  return emulator::device_status();
}
inline cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  stream->capturing = emulator::capture() = new EmulatedGraph;
  return cudaSuccess;
}
inline cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = stream->capturing;
  stream->capturing = emulator::capture() = nullptr;
  if (!(*graph)->invalid) return cudaSuccess;
  delete *graph;
  *graph = nullptr;
  return cudaErrorStreamCaptureInvalidated;
}
inline cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* ready, cudaGraph_t graph,
                                                 unsigned long long) {
  *ready = new EmulatedGraph(*graph);
  return cudaSuccess;
}
inline cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
  for (const auto& work : graph->work) emulator::perform(stream, work);
  return emulator::device_status();
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
  return bytes <= 227 << 10 ? cudaSuccess : emulator::failed(cudaErrorInvalidValue);
}

// cuda/launch.h calls this.
template <class Body>
void emulated_launch(dim3 grid, dim3 block, size_t shared, cudaStream_t stream, Body body) {
  stream->computes = true;
  emulator::perform(stream, [=] {
    emulator::count_kernel();
    emulator::launch(grid, block, shared, body);
  });
}
