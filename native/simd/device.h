// What a CPU kernel sees of its device: threads and scratch memory. Declarations only: this header
// is included by code built for several instruction sets, and inline code must not leak between
// them.
#pragma once
#include <stddef.h>

#include "../backend.h"

struct PlDevice {};  // the opaque handle of the contract

namespace partlens {

class ThreadPool;

class Device : public PlDevice {
 public:
  static constexpr int SCRATCH_SLOTS = 16;

  // Tasks 0..count-1 in any order on any thread; returns when all are done. `worker` is below
  // `threads()`: it picks a thread's own part of a scratch buffer, and must never change a result.
  typedef void (*Task)(void* context, int index, int worker);
  void parallel(int count, Task task, void* context);
  int threads() const;

  // Uninitialised, 64-byte aligned memory, grown on demand and kept; valid until the next call with
  // the same slot. Throws std::bad_alloc.
  float* scratch(int slot, size_t floats);
  size_t scratch_bytes() const;

  PlAccuracy accuracy() const { return accuracy_; }

  Device(int threads, PlAccuracy accuracy);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

 private:
  void set_capacity(int slot, size_t floats);

  ThreadPool* pool_;
  const PlAccuracy accuracy_;
  float* scratch_[SCRATCH_SLOTS] = {};
  size_t capacity_[SCRATCH_SLOTS] = {};
};

}  // namespace partlens
