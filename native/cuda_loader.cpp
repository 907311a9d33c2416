#include "cuda_loader.h"

#include <dlfcn.h>
#include <unistd.h>

#include <cstdlib>
#include <mutex>

namespace partlens {

namespace {

// PARTLENS_CUDA_LIBRARY, or build/cuda/libpartlens_cuda.so seen from this addon in build/Release.
std::string library_path() {
  const char* given = getenv("PARTLENS_CUDA_LIBRARY");
  if (given) return given;
  Dl_info info;
  if (!dladdr(reinterpret_cast<void*>(&cuda_backend), &info) || !info.dli_fname) return "";
  const std::string addon = info.dli_fname;
  const size_t slash = addon.rfind('/');
  return slash == std::string::npos ? "" : addon.substr(0, slash) + "/../cuda/libpartlens_cuda.so";
}

const PlBackend* load(std::string* reason) {
  const std::string path = library_path();
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char* text = dlerror();
    const bool built = access(path.c_str(), F_OK) == 0;
    *reason = built ? "the CUDA library cannot be opened: " + std::string(text ? text : path)
                    : "the CUDA library is not built (npm run build:cuda needs nvcc)";
    return nullptr;
  }
  typedef const PlBackend* (*Entry)(const char** reason);
  const auto entry = reinterpret_cast<Entry>(dlsym(library, "pl_cuda_backend"));
  const char* why = "the CUDA library has no entry pl_cuda_backend";
  const PlBackend* backend = entry ? entry(&why) : nullptr;
  if (!backend) {
    *reason = why;
    return nullptr;
  }
  if (backend->version == PL_CONTRACT_VERSION) return backend;
  *reason = "the CUDA library is of another version of partlens: run npm run build:cuda";
  return nullptr;
}

}  // namespace

const PlBackend* cuda_backend(std::string* reason) {
  static std::mutex mutex;
  static bool tried = false;
  static const PlBackend* backend = nullptr;
  static std::string why;
  std::lock_guard<std::mutex> lock(mutex);
  if (!tried) backend = load(&why);
  tried = true;
  *reason = why;
  return backend;
}

}  // namespace partlens
