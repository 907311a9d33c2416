// Chooses among the builds of the CPU backend at run time.
#pragma once
#include "backend.h"

namespace partlens {

// The best build for this machine, or the one that PARTLENS_ISA names. Returns nullptr with a
// reason when that one is unknown or not supported here.
const PlBackend* cpu_backend(const char** reason);

// Text of the calling thread's last failed call.
void cpu_set_last_error(const char* text);
const char* cpu_last_error();

}  // namespace partlens
