#include "device.h"

#include <new>

#include "pages.h"
#include "thread_pool.h"

namespace partlens {

Device::Device(int threads, PlAccuracy accuracy)
    : pool_(new ThreadPool(threads)), accuracy_(accuracy) {}

Device::~Device() {
  delete pool_;
  for (float* memory : scratch_) free_pages(memory);
}

void Device::parallel(int count, Task task, void* context) { pool_->run(count, task, context); }

int Device::threads() const { return pool_->threads(); }

float* Device::scratch(int slot, size_t floats) {
  if (capacity_[slot] < floats) {
    free_pages(scratch_[slot]);
    scratch_[slot] = nullptr;
    set_capacity(slot, 0);
    void* memory = allocate_pages(floats * sizeof(float));
    if (!memory) throw std::bad_alloc();
    scratch_[slot] = static_cast<float*>(memory);
    set_capacity(slot, floats);
  }
  return scratch_[slot];
}

// Asked from other threads while kernels run.
size_t Device::scratch_bytes() const {
  size_t sum = 0;
  for (const size_t& floats : capacity_) {
    sum += __atomic_load_n(&floats, __ATOMIC_RELAXED) * sizeof(float);
  }
  return sum;
}

void Device::set_capacity(int slot, size_t floats) {
  __atomic_store_n(&capacity_[slot], floats, __ATOMIC_RELAXED);
}

}  // namespace partlens
