// What every file of cuda/ops/ includes: contract, device, layouts, launches, and one declaration
// per kernel.
#pragma once
#include "device.h"
#include "device/padding.h"
#include "device/reduce.h"
#include "device/vec.h"
#include "launch.h"
#include "layout.h"

namespace partlens {
namespace cuda {
#include "backend_table.inc"
}  // namespace cuda
}  // namespace partlens
