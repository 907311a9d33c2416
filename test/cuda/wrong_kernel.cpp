// A CUDA library with one kernel gone wrong, to prove that bench/gpu_check.py notices: loads the
// library that WRONG_LIBRARY names and replaces the kernel that WRONG_KERNEL names, in the way of
// WRONG_HOW:
//   value      one number of the first output is off by a tenth
//   unwritten  the kernel does nothing
//   stray      a word behind the first output is written
//   input      the first input is written
//   unsteady   the results differ from run to run
//   crash      the process ends
//   lost       the device is lost
#include <dlfcn.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "backend.h"

static PlBackend wrong;
static std::vector<PlKernelEntry> kernels;
static PlKernel right;
static int input_count;
static std::string how;

static const char* text(const char* name) {
  const char* value = getenv(name);
  return value ? value : "";
}

// Changes the word at `index` from the start of the tensor's memory.
static PlStatus change(PlDevice* device, const PlTensor& tensor, int64_t index, float factor) {
  float* memory = static_cast<float*>(tensor.data) + index / 4 * 4;
  const PlTensor rows = {memory, PL_F32, PL_ROWS, 1, {4, 1, 1, 1}, {}};
  float values[4];
  const PlStatus status = wrong.download(device, &rows, values);
  float& value = values[index % 4];
  value = value == value ? value * factor + 1e-3f * (factor - 1) : 0;
  return status ? status : wrong.upload(device, &rows, values);
}

static PlStatus run_wrong(PlDevice* device, const PlTensor* tensors, const void* attrs) {
  static int runs = 0;
  if (how == "unwritten") return PL_OK;
  if (how == "crash") abort();
  if (how == "lost") return PL_DEVICE_LOST;
  const PlStatus status = right(device, tensors, attrs);
  if (status) return status;
  const PlTensor& output = tensors[input_count];
  if (how == "input") return change(device, tensors[0], 0, 1.1f);
  if (how == "stray") return change(device, output, wrong.bytes_of(&output) / 4, 1);
  return change(device, output, 0, how == "unsteady" ? 1 + 1e-7f * ++runs : 1.1f);
}

extern "C" __attribute__((visibility("default"))) const PlBackend* pl_cuda_backend(
    const char** reason) {
  void* library = dlopen(text("WRONG_LIBRARY"), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    *reason = dlerror();
    return nullptr;
  }
  const auto entry =
      reinterpret_cast<const PlBackend* (*)(const char**)>(dlsym(library, "pl_cuda_backend"));
  const PlBackend* backend = entry(reason);
  if (!backend) return nullptr;
  how = text("WRONG_HOW");
  wrong = *backend;
  kernels.assign(backend->kernels, backend->kernels + backend->kernel_count);
  for (PlKernelEntry& kernel : kernels) {
    if (text("WRONG_KERNEL") != std::string(kernel.name)) continue;
    right = kernel.run;
    input_count = kernel.input_count;
    kernel.run = run_wrong;
  }
  wrong.kernels = kernels.data();
  return &wrong;
}
