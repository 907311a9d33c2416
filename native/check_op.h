// Checks one op of a program against what its kernel relies on: types, sizes, places, attributes.
#pragma once
#include "program.h"

namespace partlens {

// Throws E_INTERNAL unless the kernel may run on these tensors without touching other memory.
void check_op(const Op& op, const PlBackend& backend);

}  // namespace partlens
