// The CPU backend's table, compiled once for each instruction set: memory, layout conversion,
// kernels.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <exception>
#include <new>

#include "cpu_dispatch.h"

#define PL_BACKEND_TABLES
#define PL_KERNEL_RUN(name, Attrs, device, tensors, attrs)                              \
  guarded([&] {                                                                         \
    name(*static_cast<Device*>(device), *reinterpret_cast<const name##_args*>(tensors), \
         *static_cast<const Attrs*>(attrs));                                            \
  })
namespace partlens {
template <class Body>
static PlStatus guarded(Body body) noexcept {
  try {
    body();
    return PL_OK;
  } catch (const std::bad_alloc&) {
    cpu_set_last_error("out of memory for the workspace of a kernel");
    return PL_OUT_OF_MEMORY;
  } catch (const std::exception& error) {
    cpu_set_last_error(error.what());
    return PL_ERROR;
  }
}
}  // namespace partlens
#include "cpu_kernels.h"

namespace partlens {
namespace PL_ISA {

static PlStatus open(int32_t, int32_t threads, PlDevice** device) {
  return guarded([&] { *device = new Device(threads); });
}

static void close(PlDevice* device) { delete static_cast<Device*>(device); }

static int64_t bytes_of(const PlTensor* t) { return (int64_t)elements(*t) * 4; }

static PlStatus allocate(PlDevice*, int64_t bytes, void** memory) {
  *memory = nullptr;
  const size_t size = ((size_t)bytes + 4095) / 4096 * 4096;
  if (posix_memalign(memory, 4096, size ? size : 4096) != 0) {
    cpu_set_last_error("posix_memalign failed");
    return PL_OUT_OF_MEMORY;
  }
  memset(*memory, 0, size);
  return PL_OK;
}

static void release(PlDevice*, void* memory) { free(memory); }

static int64_t scratch_bytes(PlDevice* device) {
  return (int64_t) static_cast<Device*>(device)->scratch_bytes();
}

// One image of C planes of HW cells, blocked or planar: [C/16][HW][16] <-> [C][HW]. 4-byte elements
// are moved as int32: no NaN is touched.
static void block_planes(const int32_t* from, int32_t* to, int C, int HW) {
  for (int c0 = 0; c0 < C; c0 += BLOCK) {
    int32_t* block = to + (long)c0 * HW;
    const int lanes = C - c0 < BLOCK ? C - c0 : BLOCK;
    for (int i = 0; i < HW; i++) {
      for (int c = 0; c < lanes; c++) block[i * BLOCK + c] = from[(long)(c0 + c) * HW + i];
      for (int c = lanes; c < BLOCK; c++) block[i * BLOCK + c] = 0;
    }
  }
}

static void unblock_planes(const int32_t* from, int32_t* to, int C, int HW) {
  for (int c0 = 0; c0 < C; c0 += BLOCK) {
    const int32_t* block = from + (long)c0 * HW;
    const int lanes = C - c0 < BLOCK ? C - c0 : BLOCK;
    for (int c = 0; c < lanes; c++) {
      for (int i = 0; i < HW; i++) to[(long)(c0 + c) * HW + i] = block[i * BLOCK + c];
    }
  }
}

// A row of features: plain (C = F, HW = 1 would waste nothing but reads oddly) or flattened maps.
struct RowShape {
  int C, HW, logical, physical;
};

static RowShape row_shape(const PlTensor& t) {
  if (t.chw[0] > 0) return {t.chw[0], t.chw[1] * t.chw[2], features(t), row_stride(t)};
  return {features(t), 1, features(t), row_stride(t)};
}

static void linear_panels(Device& device, const PlTensor& t, int32_t* host, bool up) {
  const RowShape row = row_shape(t);
  int32_t* data = i32(t);
  const int O = t.dims[0];
  parallel_for(device, blocks_of(O), [=](int panel, int) {
    int32_t* block = data + (long)panel * row.physical * BLOCK;
    for (int f = 0; f < row.physical; f++) {
      // physical feature -> logical: [C/16][HW][16] -> [C][HW]
      const int c = f / (row.HW * BLOCK) * BLOCK + f % BLOCK;
      const int logical = c * row.HW + f / BLOCK % row.HW;
      for (int o = 0; o < BLOCK; o++) {
        const int out = panel * BLOCK + o;
        const bool real = c < row.C && out < O;
        int32_t& cell = block[(long)f * BLOCK + o];
        if (up)
          cell = real ? host[(long)out * row.logical + logical] : 0;
        else if (real)
          host[(long)out * row.logical + logical] = cell;
      }
    }
  });
}

static void conv_panels(Device& device, const PlTensor& t, int32_t* host, bool up) {
  const int O = t.dims[0], C = t.dims[1], RS = t.dims[2] * t.dims[3];
  int32_t* data = i32(t);
  parallel_for(device, blocks_of(O) * blocks_of(C), [=](int task, int) {
    const int o0 = task / blocks_of(C) * BLOCK, c0 = task % blocks_of(C) * BLOCK;
    int32_t* block = data + (long)task * RS * BLOCK * BLOCK;
    for (int k = 0; k < RS; k++) {
      for (int c = 0; c < BLOCK; c++) {
        for (int o = 0; o < BLOCK; o++) {
          const bool real = o0 + o < O && c0 + c < C;
          int32_t& cell = block[(k * BLOCK + c) * BLOCK + o];
          const long at = ((long)(o0 + o) * C + c0 + c) * RS + k;
          if (up)
            cell = real ? host[at] : 0;
          else if (real)
            host[at] = cell;
        }
      }
    }
  });
}

static void convert(Device& device, const PlTensor& t, int32_t* host, bool up) {
  int32_t* data = i32(t);
  if (t.layout == PL_LINEAR_WEIGHT) return linear_panels(device, t, host, up);
  if (t.layout == PL_CONV_WEIGHT) return conv_panels(device, t, host, up);
  RowShape row = row_shape(t);
  int count = row_count(t);
  if (t.layout == PL_MAPS) {
    const int HW = t.dims[2] * t.dims[3];
    row = {t.dims[1], HW, t.dims[1] * HW, padded(t.dims[1]) * HW};
    count = t.dims[0];
  }
  parallel_for(device, count, [=](int n, int) {
    int32_t* physical = data + (long)n * row.physical;
    int32_t* logical = host + (long)n * row.logical;
    if (row.HW == 1) {
      memcpy(up ? physical : logical, up ? logical : physical, row.logical * 4L);
      if (up) memset(physical + row.logical, 0, (row.physical - row.logical) * 4L);
    } else if (up) {
      block_planes(logical, physical, row.C, row.HW);
    } else {
      unblock_planes(physical, logical, row.C, row.HW);
    }
  });
}

static PlStatus upload(PlDevice* device, const PlTensor* t, const void* host) {
  return guarded(
      [&] { convert(*static_cast<Device*>(device), *t, (int32_t*)const_cast<void*>(host), true); });
}

static PlStatus download(PlDevice* device, const PlTensor* t, void* host) {
  return guarded([&] { convert(*static_cast<Device*>(device), *t, (int32_t*)host, false); });
}

static PlStatus synchronize(PlDevice*) { return PL_OK; }

#define PL_STRING2(x) #x
#define PL_STRING(x) PL_STRING2(x)

extern const PlBackend backend;
const PlBackend backend = {
    PL_CONTRACT_VERSION,
    "cpu",
    PL_STRING(PL_ISA),
    open,
    close,
    cpu_last_error,
    bytes_of,
    allocate,
    release,
    scratch_bytes,
    upload,
    download,
    synchronize,
    kKernels,
    sizeof kKernels / sizeof kKernels[0],
    kAttrs,
    sizeof kAttrs / sizeof kAttrs[0],
};

}  // namespace PL_ISA
}  // namespace partlens
