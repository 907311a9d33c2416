// Opens the optional CUDA library.
#pragma once
#include <string>

#include "backend.h"

namespace partlens {

// The CUDA backend, or nullptr with the reason: no library, another contract, no driver, no device.
const PlBackend* cuda_backend(std::string* reason);

}  // namespace partlens
