// The CPU backend as a library of its own, for small_shapes.cpp.
#include "cpu_dispatch.h"

extern "C" __attribute__((visibility("default"))) const PlBackend* pl_cpu_backend(
    const char** reason) {
  return partlens::cpu_backend(reason);
}
