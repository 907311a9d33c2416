// The CPU backend's table, compiled once for each instruction set: memory, layout conversion,
// kernels.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <exception>
#include <new>

#include "cpu_dispatch.h"
#include "simd/pages.h"

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

static PlStatus open(const PlOptions* options, PlDevice** device) {
  return guarded([&] { *device = new Device(options->threads, (PlAccuracy)options->accuracy); });
}

static void close(PlDevice* device) { delete static_cast<Device*>(device); }

static int64_t bytes_of(const PlTensor* t) { return (int64_t)elements(*t) * 4; }

static PlStatus allocate(PlDevice*, int64_t bytes, void** memory) {
  *memory = allocate_zeroed_pages((size_t)bytes);
  if (*memory) return PL_OK;
  cpu_set_last_error("the system gives no more memory");
  return PL_OUT_OF_MEMORY;
}

static void release(PlDevice*, void* memory) { free_zeroed_pages(memory); }

static int64_t scratch_bytes(PlDevice* device) {
  return (int64_t) static_cast<Device*>(device)->scratch_bytes();
}

// Values are moved as int32, so that no NaN is touched.
static inline int at_most(int limit, int value) { return value < limit ? value : limit; }

// Three channels: a cell in four stores.
static void block_picture(const int32_t* host, int32_t* data, int HW) {
  typedef int32_t Four __attribute__((vector_size(16), aligned(4)));
  for (int i = 0; i < HW; i++) {
    Four* cell = reinterpret_cast<Four*>(data + (long)i * BLOCK);
    cell[0] = Four{host[i], host[HW + i], host[2l * HW + i], 0};
    for (int k = 1; k < BLOCK / 4; k++) cell[k] = Four{};
  }
}

// A block of 16 channels of one image, [C][HW] -> [HW][16], cell by cell: each line of the cache is
// written once and whole.
static void block_maps(const int32_t* host, int32_t* data, int lanes, int HW) {
  if (lanes == 3) return block_picture(host, data, HW);
  for (int i = 0; i < HW; i++) {
    for (int c = 0; c < lanes; c++) data[(long)i * BLOCK + c] = host[(long)c * HW + i];
    for (int c = lanes; c < BLOCK; c++) data[(long)i * BLOCK + c] = 0;
  }
}

constexpr int RUN = 256;  // cells: 16 KB of blocked maps, which stay in the first cache

// [HW][16] -> [C][HW], in runs: 16 planes of a power of two would share a few sets of the cache.
static void unblock_maps(const int32_t* data, int32_t* host, int lanes, int HW) {
  for (int begin = 0; begin < HW; begin += RUN) {
    const int end = at_most(HW, begin + RUN);
    for (int c = 0; c < lanes; c++) {
      for (int i = begin; i < end; i++) host[(long)c * HW + i] = data[(long)i * BLOCK + c];
    }
  }
}

// `count` neighbours of the host's side to or from every `step`th element of a panel.
template <bool UP>
static inline void move_run(int32_t* host, int32_t* data, int count, int step) {
  for (int i = 0; i < count; i++) {
    if (UP)
      data[(long)i * step] = host[i];
    else
      host[i] = data[(long)i * step];
  }
}

// A block of 16 outputs: [O][C][HW] <-> [C/16][HW][16 c][16 o].
template <bool UP>
static void weight_panel(int32_t* host, int32_t* data, int outs, int C, int HW) {
  const bool partial = outs < BLOCK || C % BLOCK != 0;
  if (UP && partial) memset(data, 0, (long)padded(C) * HW * BLOCK * 4);
  for (int c0 = 0; c0 < C; c0 += BLOCK) {
    const int lanes = at_most(BLOCK, C - c0);
    for (int o = 0; o < outs; o++) {
      int32_t* row = host + ((long)o * C + c0) * HW;
      int32_t* column = data + (long)c0 * HW * BLOCK + o;
      if (HW == 1) {
        move_run<UP>(row, column, lanes, BLOCK);
        continue;
      }
      for (int c = 0; c < lanes; c++) {
        move_run<UP>(row + (long)c * HW, column + c * BLOCK, HW, BLOCK * BLOCK);
      }
    }
  }
}

// The axes of a tensor: N images or rows, or outputs of a weight; C channels of HW cells.
struct Axes {
  int N, C, HW;
};

static Axes axes_of(const PlTensor& t) {
  const bool four = t.layout == PL_MAPS || t.layout == PL_CONV_WEIGHT;
  if (t.layout == PL_PICTURE) return {t.dims[0], t.dims[1] * t.dims[2] * t.dims[3], 1};
  if (four) return {t.dims[0], t.dims[1], t.dims[2] * t.dims[3]};
  const int rows = t.layout == PL_ROWS ? row_count(t) : t.dims[0];
  if (t.chw[0] > 0) return {rows, t.chw[0], t.chw[1] * t.chw[2]};
  return {rows, features(t), 1};
}

constexpr long FEW = 4096;  // so few elements are not worth waking a thread

template <bool UP>
static void convert(Device& device, const PlTensor& t, int32_t* host) {
  const Axes a = axes_of(t);
  int32_t* data = i32(t);
  const bool weight = t.layout == PL_CONV_WEIGHT || t.layout == PL_LINEAR_WEIGHT;
  const bool plain = !weight && a.HW == 1;
  const long logical = (long)a.C * a.HW;
  const long physical = t.layout == PL_PICTURE ? logical : (long)padded(a.C) * a.HW;
  const int blocks = weight || plain ? 1 : blocks_of(a.C);
  const auto task = [=](int index, int) {
    const int n = index / blocks, c0 = index % blocks * BLOCK;
    if (weight) {
      weight_panel<UP>(host + n * BLOCK * logical, data + n * BLOCK * physical,
                       at_most(BLOCK, a.N - n * BLOCK), a.C, a.HW);
    } else if (plain) {
      int32_t *from = host + n * logical, *to = data + n * physical;
      memcpy(UP ? to : from, UP ? from : to, logical * 4);
      if (UP) memset(to + logical, 0, (physical - logical) * 4);
    } else {
      int32_t* planes = host + n * logical + (long)c0 * a.HW;
      int32_t* block = data + n * physical + (long)c0 * a.HW;
      const int lanes = at_most(BLOCK, a.C - c0);
      UP ? block_maps(planes, block, lanes, a.HW) : unblock_maps(block, planes, lanes, a.HW);
    }
  };
  const int tasks = weight ? blocks_of(a.N) : a.N * blocks;
  if (elements(t) > FEW) return parallel_for(device, tasks, task);
  for (int index = 0; index < tasks; index++) task(index, 0);
}

static PlStatus upload(PlDevice* device, const PlTensor* t, const void* host) {
  return guarded(
      [&] { convert<true>(*static_cast<Device*>(device), *t, (int32_t*)const_cast<void*>(host)); });
}

static PlStatus download(PlDevice* device, const PlTensor* t, void* host) {
  return guarded([&] { convert<false>(*static_cast<Device*>(device), *t, (int32_t*)host); });
}

static PlStatus synchronize(PlDevice*) { return PL_OK; }

#define PL_STRING2(x) #x
#define PL_STRING(x) PL_STRING2(x)

extern const PlBackend backend;
const PlBackend backend = {
    PL_CONTRACT_VERSION,
    "cpu",
    PL_STRING(PL_ISA),
    "",
    0,
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
    nullptr,  // nothing overlaps
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr,  // nothing is recorded
    nullptr,
    nullptr,
    nullptr,
    kKernels,
    sizeof kKernels / sizeof kKernels[0],
    kAttrs,
    sizeof kAttrs / sizeof kAttrs[0],
};

}  // namespace PL_ISA
}  // namespace partlens
