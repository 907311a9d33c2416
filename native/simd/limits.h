// What this process may use of the machine: its CPU affinity and memory, and the limits of its
// control groups (v1 and v2).
#pragma once
#include <cstdint>

namespace partlens {

// Threads that can run at a time, at least 1.
int allowed_threads();

// Physical memory that the process may ever hold, and what of it is free now, in bytes.
int64_t memory_limit();
int64_t memory_free();

}  // namespace partlens
