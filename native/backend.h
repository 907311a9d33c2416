// The backend contract: what the engine asks of a device. Plain C, so that a backend may live in a
// shared library built by another compiler. No exception and no C++ type crosses this line.
#pragma once
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PL_CONTRACT_VERSION 3

typedef enum { PL_F32 = 0, PL_I32 = 1 } PlDType;

// What a tensor is for. The bytes behind each layout are the backend's own business; values cross
// `upload` and `download` in row-major order (NCHW, OIHW, (out, in)).
typedef enum {
  PL_ROWS = 0,           // rank 0, 1, 2: (), (F), (N, F): vectors, matrices of activations, labels
  PL_MAPS = 1,           // rank 4: (N, C, H, W) activations
  PL_CONV_WEIGHT = 2,    // rank 4: (O, C, R, S)
  PL_LINEAR_WEIGHT = 3,  // rank 2: (O, F)
  PL_PICTURE = 4         // rank 4: maps of a few channels that only a convolution reads; CPU alone
} PlLayout;

typedef struct {
  void* data;      // NULL: an optional input that is absent, an output nobody reads
  int32_t dtype;   // PlDType
  int32_t layout;  // PlLayout
  int32_t rank;
  int32_t dims[4];  // logical sizes, row-major; 1 beyond rank
  int32_t chw[3];   // PL_ROWS and PL_LINEAR_WEIGHT: F is a flattened (C, H, W); all 0 if it is not
} PlTensor;

typedef enum { PL_OK = 0, PL_ERROR = 1, PL_OUT_OF_MEMORY = 2, PL_DEVICE_LOST = 3 } PlStatus;

// Of matrix products; everything else is float32, but for maps that are stored as these products
// read them (attribute `round`), and sums of products always are. A backend without tensor cores
// has float32 only.
typedef enum { PL_FP32 = 0, PL_TF32 = 1, PL_BF16 = 2 } PlPrecision;

// How convolutions are computed where a backend knows a faster way that rounds more: with it, with
// a milder form of it, or without. No effect on CUDA.
typedef enum { PL_FAST = 0, PL_HIGH = 1, PL_DIRECT = 2 } PlAccuracy;

typedef struct {
  int32_t index;      // of the device
  int32_t threads;    // 0 = all that are allowed
  int32_t precision;  // PlPrecision
  int32_t accuracy;   // PlAccuracy
} PlOptions;

typedef struct PlDevice PlDevice;        // opaque: threads or a stream, scratch memory
typedef struct PlRecording PlRecording;  // opaque: kernel calls, ready to be run again

// tensors: the kernel's inputs, then its outputs, in the order of kernels.def.
typedef PlStatus (*PlKernel)(PlDevice* device, const PlTensor* tensors, const void* attrs);

typedef struct {
  const char* name;     // "conv2d_forward"
  const char* inputs;   // "(x, w, b)"
  const char* outputs;  // "(y)"
  const char* attrs;    // "Conv2dAttrs"
  int32_t input_count;
  int32_t output_count;
  PlKernel run;
} PlKernelEntry;

typedef struct {
  const char* name;    // "Conv2dAttrs"
  const char* fields;  // "i32 stride_h;i32 stride_w;..."; every field has 4 bytes
  int32_t bytes;
} PlAttrsEntry;

typedef struct {
  int32_t version;          // PL_CONTRACT_VERSION
  const char* name;         // "cpu", "cuda"
  const char* isa;          // "avx512", "avx2", "sse2", "sm_90", ...
  const char* device_name;  // "NVIDIA H100 80GB HBM3"; empty for the CPU
  int64_t device_bytes;     // memory of the device; 0 for the CPU

  PlStatus (*open)(const PlOptions* options, PlDevice** device);
  void (*close)(PlDevice* device);
  const char* (*last_error)(void);  // of the calling thread; names call, file, line

  int64_t (*bytes_of)(const PlTensor* tensor);  // physical size, padding included
  PlStatus (*allocate)(PlDevice* device, int64_t bytes, void** memory);  // zeroed, 64-byte aligned
  void (*release)(PlDevice* device, void* memory);
  int64_t (*scratch_bytes)(PlDevice* device);  // workspace that kernels hold beside the arena

  PlStatus (*upload)(PlDevice* device, const PlTensor* tensor, const void* host);
  PlStatus (*download)(PlDevice* device, const PlTensor* tensor, void* host);
  PlStatus (*synchronize)(PlDevice* device);

  // The same for work that overlaps, NULL where a backend has none: calls return before they are
  // done, and `host`, from allocate_host, must live until `wait` for a ticket drawn after them.
  PlStatus (*allocate_host)(int64_t bytes, void** memory);
  void (*release_host)(void* memory);
  PlStatus (*upload_later)(PlDevice* device, const PlTensor* tensor, const void* host);
  PlStatus (*download_later)(PlDevice* device, const PlTensor* tensor, void* host);
  PlStatus (*draw_ticket)(PlDevice* device, int64_t* ticket);  // the last few can be waited for
  PlStatus (*wait)(PlDevice* device, int64_t ticket);

  // NULL where a backend has none. Kernels called between begin and end are noted, not run; each
  // must have run before with the same tensors.
  PlStatus (*record_begin)(PlDevice* device);
  PlStatus (*record_end)(PlDevice* device, PlRecording** recording);
  PlStatus (*replay)(PlDevice* device, PlRecording* recording);
  void (*discard)(PlDevice* device, PlRecording* recording);

  const PlKernelEntry* kernels;
  int32_t kernel_count;
  const PlAttrsEntry* attrs;
  int32_t attrs_count;
} PlBackend;

#ifdef __cplusplus
}
#endif
