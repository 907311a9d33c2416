// What a CUDA kernel's launcher sees of its device: the stream, scratch memory, and how exact
// matrix products are.
#pragma once
#include <cuda_runtime.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <vector>

#include "backend.h"

struct PlDevice {};  // the opaque handle of the contract

namespace partlens {
namespace cuda {

// A CUDA call that failed, or memory that was not there. Caught at the backend table's edge.
struct CudaError : std::runtime_error {
  CudaError(PlStatus code, const std::string& text) : std::runtime_error(text), status(code) {}
  PlStatus status;
};

void check_call(cudaError_t error, const char* call, const char* file, int line);
#define CUDA_TRY(call) ::partlens::cuda::check_call(call, #call, __FILE__, __LINE__)

class Device : public PlDevice {
 public:
  static constexpr int SCRATCH_SLOTS = 9;

  Device(int index, PlPrecision precision);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  // The current device of a CUDA call is a property of the calling thread.
  void use() const { CUDA_TRY(cudaSetDevice(index_)); }
  cudaStream_t stream() const { return stream_; }
  // Zeroes memory, and waits. Any thread may call this, also while another records the stream.
  void clear(void* memory, size_t bytes) const;
  int multiprocessors() const { return multiprocessors_; }
  bool hopper() const { return hopper_; }
  PlPrecision precision() const { return precision_; }
  // Whether the attributes `round` and `rounded` mean anything: maps are stored as tf32.
  bool rounds() const { return precision_ == PL_TF32; }

  // Uninitialised memory, valid until the next call with the same slot. Grown memory leaves the old
  // in place: recorded programs may hold its address.
  void* scratch(int slot, size_t bytes);
  template <class T>
  T* scratch(int slot, size_t count) {
    return static_cast<T*>(scratch(slot, count * sizeof(T)));
  }
  size_t scratch_bytes() const { return scratch_bytes_; }

  // Every use of the device is a call. A convolution may leave peaks (device/peaks.h) of the maps
  // that it made for the call that follows; any other call in between, and they are forgotten.
  void begin_call() {
    use();
    call_++;
  }
  void leave_peaks(const void* maps) {
    peaks_of_ = maps;
    peaks_call_ = call_;
  }
  bool has_peaks(const void* maps) const { return maps == peaks_of_ && call_ == peaks_call_ + 1; }

  // Pinned host memory for one copy at a time.
  void* pinned(size_t bytes);

  // Copies from pinned memory to the device on a stream of their own, in two areas by turns, so
  // that the inputs of the next step travel while this step computes. `use(staged)` sends what
  // reads them.
  template <class Use>
  void copy_in(const void* host, size_t bytes, Use use) {
    void* staged = begin_copy(host, bytes);
    use(staged);
    end_copy();
  }
  // Marks this moment of the stream; the last few marks can be waited for. Later copies use the
  // other area.
  int64_t draw_ticket();
  void wait(int64_t ticket);

 private:
  static constexpr int TICKETS = 4;
  struct Area {
    void* memory = nullptr;
    size_t bytes = 0, used = 0;
    cudaEvent_t filled = nullptr, read = nullptr;
  };

  void* begin_copy(const void* host, size_t bytes);
  void end_copy();

  std::atomic<int64_t> call_{0};  // any thread may allocate
  int64_t peaks_call_ = 0;
  const void* peaks_of_ = nullptr;

  cudaStream_t copy_stream_ = nullptr;
  Area areas_[2];
  int area_ = 0;
  cudaEvent_t marks_[TICKETS] = {};
  int64_t tickets_ = 0;

  int index_;
  PlPrecision precision_;
  int multiprocessors_ = 0;
  bool hopper_ = false;
  cudaStream_t stream_ = nullptr;
  void* scratch_[SCRATCH_SLOTS] = {};
  size_t capacity_[SCRATCH_SLOTS] = {};
  std::vector<void*> outgrown_;
  size_t scratch_bytes_ = 0;
  void* pinned_ = nullptr;
  size_t pinned_bytes_ = 0;
};

// Scratch slots by what they hold for the length of one kernel call.
enum ScratchSlot {
  STAGING_SLOT = 0,     // values on their way to or from the host
  PARTIAL_SLOT = 1,     // partial sums of a reduction or of a split product
  WEIGHT_SLOT = 2,      // weights turned for a backward pass
  TEMPLATE_SLOT = 3,    // part templates
  STATISTICS_SLOT = 4,  // log Z, log p(x), KL of the filter loss
  OPERAND_SLOT = 5,     // maps and weights as wgmma reads them
  PEAKS_SLOT = 6,       // peaks that a convolution leaves for the next call
  INDEX_SLOT = 7,       // tables of indices turned for a backward pass
  EXPANDED_SLOT = 8     // maps between two convolutions of one call
};

// Pinned host memory, kept for the next that wants as much: pinning takes a millisecond.
void* allocate_host(size_t bytes);
void release_host(void* memory);

}  // namespace cuda
}  // namespace partlens
