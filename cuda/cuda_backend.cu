// The CUDA backend's table: device, memory, layout conversion, recorded programs, kernels.
#include <new>

#define PL_BACKEND_TABLES
#define PL_KERNEL_RUN(name, Attrs, device, tensors, attrs)                                      \
  guarded(device, [&](Device& d) {                                                              \
    name(d, *reinterpret_cast<const name##_args*>(tensors), *static_cast<const Attrs*>(attrs)); \
  })
#include "device.h"

struct PlRecording {
  cudaGraphExec_t graph;
};

namespace partlens {
namespace cuda {

static thread_local std::string last_error_text;

static PlStatus keep(PlStatus status, const char* text) noexcept {
  try {
    last_error_text = text;
  } catch (const std::bad_alloc&) {
    last_error_text.clear();
  }
  return status;
}

template <class Body>
static PlStatus caught(Body body) noexcept {
  try {
    body();
    return PL_OK;
  } catch (const CudaError& error) {
    return keep(error.status, error.what());
  } catch (const std::bad_alloc&) {
    return keep(PL_OUT_OF_MEMORY, "out of host memory");
  } catch (const std::exception& error) {
    return keep(PL_ERROR, error.what());
  }
}

template <class Body>
static PlStatus guarded(PlDevice* handle, Body body) noexcept {
  return caught([&] {
    Device& device = *static_cast<Device*>(handle);
    device.begin_call();
    body(device);
  });
}

}  // namespace cuda
}  // namespace partlens
#include "cuda_kernels.h"
#include "device/transpose.h"

namespace partlens {
namespace cuda {

// Of the options, threads and accuracy mean nothing here.
static PlStatus open(const PlOptions* options, PlDevice** device) {
  return caught([&] { *device = new Device(options->index, (PlPrecision)options->precision); });
}

static void close(PlDevice* device) { delete static_cast<Device*>(device); }

static const char* last_error() { return last_error_text.c_str(); }

static int64_t bytes_of(const PlTensor* t) { return (int64_t)elements(*t) * 4; }

static PlStatus allocate(PlDevice* device, int64_t bytes, void** memory) {
  return guarded(device, [&](Device& d) {
    *memory = nullptr;
    CUDA_TRY(cudaMalloc(memory, bytes > 0 ? bytes : 1));
    d.clear(*memory, bytes);
  });
}

static void release(PlDevice* device, void* memory) {
  guarded(device, [&](Device&) { CUDA_TRY(cudaFree(memory)); });
}

static int64_t scratch_bytes(PlDevice* device) {
  return (int64_t) static_cast<Device*>(device)->scratch_bytes();
}

// Row-major on the host's side [image][channel][cell], channels last on the device's.
struct FromHost {
  const int* host;
  int* data;
  Axes a;
  __device__ void operator()(long i) const {
    const int pitch = a.pitch(), c = (int)(i % pitch);
    const long row = i / pitch, n = row / a.cells, cell = row % a.cells;
    data[i] = c < a.channels ? host[(n * a.channels + c) * a.cells + cell] : 0;
  }
};
struct ToHost {
  int* host;
  const int* data;
  Axes a;
  __device__ void operator()(long i) const {
    const long cell = i % a.cells, plane = i / a.cells, n = plane / a.channels;
    const int c = (int)(plane % a.channels);
    host[i] = data[(n * a.cells + cell) * a.pitch() + c];
  }
};

// As many channels and cells as make tiles worth it: fewer are read nearly whole anyway.
static bool in_tiles(const Axes& a) { return a.channels >= 16 && a.cells >= 16; }

static void from_host(Device& d, const int* host, int* data, const Axes& a) {
  if (!in_tiles(a)) return for_each(d, a.elements(), FromHost{host, data, a});
  const long image = (long)a.channels * a.cells, stored = (long)a.cells * a.pitch();
  const Transposition s = {a.images, a.channels, a.cells,   image,
                           a.cells,  stored,     a.pitch(), a.pitch()};
  transpose(d, host, data, s, Keep<int>{});
}
static void to_host(Device& d, int* host, const int* data, const Axes& a) {
  if (!in_tiles(a)) return for_each(d, a.count(), ToHost{host, data, a});
  const long image = (long)a.channels * a.cells, stored = (long)a.cells * a.pitch();
  const Transposition s = {a.images,  a.cells, a.channels, stored,
                           a.pitch(), image,   a.cells,    a.cells};
  transpose(d, data, host, s, Keep<int>{});
}

// Through pinned memory: done with the caller's on return.
static PlStatus upload(PlDevice* device, const PlTensor* t, const void* host) {
  return guarded(device, [&](Device& d) {
    const Axes a = axes_of(*t);
    const size_t bytes = a.count() * 4;
    CUDA_TRY(cudaStreamSynchronize(d.stream()));
    void* pinned = d.pinned(bytes);
    memcpy(pinned, host, bytes);
    int* staging = d.scratch<int>(STAGING_SLOT, a.count());
    CUDA_TRY(cudaMemcpyAsync(staging, pinned, bytes, cudaMemcpyHostToDevice, d.stream()));
    from_host(d, staging, i32(*t), a);
  });
}

static PlStatus download(PlDevice* device, const PlTensor* t, void* host) {
  return guarded(device, [&](Device& d) {
    const Axes a = axes_of(*t);
    const size_t bytes = a.count() * 4;
    CUDA_TRY(cudaStreamSynchronize(d.stream()));
    void* pinned = d.pinned(bytes);
    int* staging = d.scratch<int>(STAGING_SLOT, a.count());
    to_host(d, staging, i32(*t), a);
    CUDA_TRY(cudaMemcpyAsync(pinned, staging, bytes, cudaMemcpyDeviceToHost, d.stream()));
    CUDA_TRY(cudaStreamSynchronize(d.stream()));
    memcpy(host, pinned, bytes);
  });
}

static PlStatus synchronize(PlDevice* device) {
  return guarded(device, [](Device& d) { CUDA_TRY(cudaStreamSynchronize(d.stream())); });
}

static PlStatus host_memory(int64_t bytes, void** memory) {
  return caught([&] { *memory = allocate_host(static_cast<size_t>(bytes)); });
}

static PlStatus upload_later(PlDevice* device, const PlTensor* t, const void* host) {
  return guarded(device, [&](Device& d) {
    const Axes a = axes_of(*t);
    d.copy_in(host, a.count() * 4, [&](const void* staged) {
      from_host(d, static_cast<const int*>(staged), i32(*t), a);
    });
  });
}

static PlStatus download_later(PlDevice* device, const PlTensor* t, void* host) {
  return guarded(device, [&](Device& d) {
    const Axes a = axes_of(*t);
    int* staging = d.scratch<int>(STAGING_SLOT, a.count());
    to_host(d, staging, i32(*t), a);
    CUDA_TRY(cudaMemcpyAsync(host, staging, a.count() * 4, cudaMemcpyDeviceToHost, d.stream()));
  });
}

static PlStatus draw_ticket(PlDevice* device, int64_t* ticket) {
  return guarded(device, [&](Device& d) { *ticket = d.draw_ticket(); });
}

static PlStatus wait(PlDevice* device, int64_t ticket) {
  return guarded(device, [&](Device& d) { d.wait(ticket); });
}

static PlStatus record_begin(PlDevice* device) {
  return guarded(device, [](Device& d) {
    CUDA_TRY(cudaStreamBeginCapture(d.stream(), cudaStreamCaptureModeThreadLocal));
  });
}

static PlStatus record_end(PlDevice* device, PlRecording** recording) {
  return guarded(device, [&](Device& d) {
    cudaGraph_t graph = nullptr;
    CUDA_TRY(cudaStreamEndCapture(d.stream(), &graph));
    cudaGraphExec_t ready = nullptr;
    const cudaError_t status = cudaGraphInstantiateWithFlags(&ready, graph, 0);
    cudaGraphDestroy(graph);
    CUDA_TRY(status);
    *recording = new PlRecording{ready};
  });
}

static PlStatus replay(PlDevice* device, PlRecording* recording) {
  return guarded(device,
                 [&](Device& d) { CUDA_TRY(cudaGraphLaunch(recording->graph, d.stream())); });
}

static void discard(PlDevice* device, PlRecording* recording) {
  guarded(device, [&](Device&) { cudaGraphExecDestroy(recording->graph); });
  delete recording;
}

static char isa[16], device_name[256];

static PlBackend backend = {
    PL_CONTRACT_VERSION,
    "cuda",
    isa,
    device_name,
    0,
    open,
    close,
    last_error,
    bytes_of,
    allocate,
    release,
    scratch_bytes,
    upload,
    download,
    synchronize,
    host_memory,
    release_host,
    upload_later,
    download_later,
    draw_ticket,
    wait,
    record_begin,
    record_end,
    replay,
    discard,
    kKernels,
    sizeof kKernels / sizeof kKernels[0],
    kAttrs,
    sizeof kAttrs / sizeof kAttrs[0],
};

}  // namespace cuda
}  // namespace partlens

// Why the runtime cannot be used, in the user's terms.
static const char* reason_of(cudaError_t status) {
  static char text[160];
  int driver = 0;
  cudaDriverGetVersion(&driver);  // 0 without a driver
  if (driver == 0) return "no NVIDIA driver is installed";
  if (status != cudaErrorInsufficientDriver) return cudaGetErrorString(status);
  snprintf(text, sizeof text,
           "the NVIDIA driver is too old: it knows CUDA %d.%d, this library needs %d.%d: install a "
           "newer one",
           driver / 1000, driver % 1000 / 10, CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
  return text;
}

// The backend, or NULL with the reason why it cannot be used here.
extern "C" __attribute__((visibility("default"))) const PlBackend* pl_cuda_backend(
    const char** reason) {
  using namespace partlens::cuda;
  int count = 0;  // left as it is when there is no driver
  cudaError_t status = cudaGetDeviceCount(&count);
  cudaDeviceProp properties;
  if (status == cudaSuccess && count > 0) status = cudaGetDeviceProperties(&properties, 0);
  if (status != cudaSuccess) {
    *reason = reason_of(status);
    return nullptr;
  }
  if (count == 0) {
    *reason = "there is no CUDA device";
    return nullptr;
  }
  if (properties.major < 8) {
    *reason = "the CUDA device is older than compute capability 8.0 (Ampere)";
    return nullptr;
  }
  snprintf(isa, sizeof isa, "sm_%d%d", properties.major, properties.minor);
  snprintf(device_name, sizeof device_name, "%s", properties.name);
  backend.device_bytes = (int64_t)properties.totalGlobalMem;
  return &backend;
}
