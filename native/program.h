// A compiled program: lib/engine/plan.ts encodes it, decode_program checks every number of it.
#pragma once
#include <cstdint>
#include <vector>

#include "backend.h"

namespace partlens {

struct Op {
  const PlKernelEntry* kernel;
  std::vector<PlTensor> tensors;  // inputs, then outputs; data points into the arena
  std::vector<int32_t> attrs;     // raw 32-bit fields
};

struct Program {
  std::vector<PlTensor> slots;
  std::vector<Op> ops;
  std::vector<int64_t> nanoseconds;  // of each op, last run that called them one by one
  bool has_run = false;
  PlRecording* recording = nullptr;  // the session's
};

// Decodes `words` against a backend's kernels and an arena. Throws E_INTERNAL on anything that a
// right program cannot hold.
Program decode_program(const std::vector<int32_t>& words, const PlBackend& backend, char* arena,
                       int64_t arena_bytes);

// Logical elements of a tensor.
int64_t element_count(const PlTensor& tensor);

// Throws E_INTERNAL unless dtype, layout, rank and sizes are those of a tensor.
void check_tensor(const PlTensor& tensor);

}  // namespace partlens
