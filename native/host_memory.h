// Bytes on the heap, not set to anything first.
#pragma once
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>

#include "simd/pages.h"

namespace partlens {

class HostMemory {
 public:
  HostMemory() = default;
  // Throws std::bad_alloc.
  explicit HostMemory(size_t bytes) : bytes_(bytes) {
    // malloc hands blocks of up to 32 MiB out again, their pages in place; larger ones are fresh.
    const bool recycled = bytes < size_t{32} << 20;
    void* memory = recycled ? std::malloc(bytes ? bytes : 1) : allocate_pages(bytes);
    if (!memory) throw std::bad_alloc();
    memory_.reset(static_cast<char*>(memory));
  }

  char* data() const { return memory_.get(); }
  size_t bytes() const { return bytes_; }

 private:
  std::unique_ptr<char, void (*)(void*)> memory_{nullptr, std::free};
  size_t bytes_ = 0;
};

}  // namespace partlens
