#include "device.h"

#include <cstdlib>
#include <new>

#include "thread_pool.h"

namespace partlens {

Device::Device(int threads) : pool_(new ThreadPool(threads)) {}

Device::~Device() {
  delete pool_;
  for (float* memory : scratch_) std::free(memory);
}

void Device::parallel(int count, Task task, void* context) { pool_->run(count, task, context); }

int Device::threads() const { return pool_->threads(); }

float* Device::scratch(int slot, size_t floats) {
  if (capacity_[slot] < floats) {
    std::free(scratch_[slot]);
    scratch_[slot] = nullptr;
    capacity_[slot] = 0;
    const size_t bytes = (floats * sizeof(float) + 4095) / 4096 * 4096;
    void* memory = std::aligned_alloc(4096, bytes);
    if (!memory) throw std::bad_alloc();
    scratch_[slot] = static_cast<float*>(memory);
    capacity_[slot] = bytes / sizeof(float);
  }
  return scratch_[slot];
}

size_t Device::scratch_bytes() const {
  size_t sum = 0;
  for (size_t floats : capacity_) sum += floats * sizeof(float);
  return sum;
}

}  // namespace partlens
