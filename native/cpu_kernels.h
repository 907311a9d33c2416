// What every file of native/ops/ includes: contract, device, layouts, and one declaration per
// kernel.
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "backend.h"
#include "simd/device.h"
#include "simd/layout.h"

namespace partlens {
namespace PL_ISA {
#include "backend_table.inc"
}  // namespace PL_ISA
}  // namespace partlens
