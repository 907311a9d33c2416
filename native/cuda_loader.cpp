#include "cuda_loader.h"

#ifndef _WIN32
#include <dlfcn.h>
#include <unistd.h>
#endif

#include <cstdlib>
#include <mutex>

namespace partlens {

namespace {

std::mutex mutex;
std::string library_path;

#ifdef _WIN32
const PlBackend* load(std::string* reason) {
  *reason = "there is no CUDA library for Windows";
  return nullptr;
}
#else
const PlBackend* load(std::string* reason) {
  const char* given = getenv("PARTLENS_CUDA_LIBRARY");
  const std::string path = given ? given : library_path;
  void* library = path.empty() ? nullptr : dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char* text = path.empty() ? nullptr : dlerror();
    const bool built = !path.empty() && access(path.c_str(), F_OK) == 0;
    *reason = built ? "the CUDA library cannot be opened: " + std::string(text ? text : path)
                    : "the CUDA library is not installed (npm install @partlens/linux-x64-cuda, or "
                      "npx partlens build --cuda, which needs nvcc)";
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
  *reason = "the CUDA library is of another version of partlens: build or install it anew";
  return nullptr;
}
#endif

}  // namespace

void set_cuda_library(const std::string& path) {
  std::lock_guard<std::mutex> lock(mutex);
  library_path = path;
}

const PlBackend* cuda_backend(std::string* reason) {
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
