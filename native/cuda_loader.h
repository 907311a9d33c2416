// Opens the optional CUDA library.
#pragma once
#include <string>

#include "backend.h"

namespace partlens {

// The CUDA backend, or nullptr with the reason: no library, another contract, no driver, no device.
const PlBackend* cuda_backend(std::string* reason);

// Where the library lies, for the first call of cuda_backend. PARTLENS_CUDA_LIBRARY comes before
// it.
void set_cuda_library(const std::string& path);

}  // namespace partlens
