// Bytes on the host, not set to anything first.
#pragma once
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>

#include "backend.h"
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
    memory_ = Pointer(static_cast<char*>(memory), recycled ? std::free : free_pages);
  }

  // What a backend copies fastest. Throws std::bad_alloc.
  HostMemory(const PlBackend& backend, size_t bytes) {
    if (!backend.allocate_host) {
      *this = HostMemory(bytes);
      return;
    }
    void* memory = nullptr;
    const PlStatus status = backend.allocate_host(static_cast<int64_t>(bytes), &memory);
    if (status != PL_OK) throw std::bad_alloc();
    memory_ = Pointer(static_cast<char*>(memory), backend.release_host);
    bytes_ = bytes;
  }

  char* data() const { return memory_.get(); }
  size_t bytes() const { return bytes_; }

 private:
  typedef std::unique_ptr<char, void (*)(void*)> Pointer;

  Pointer memory_{nullptr, std::free};
  size_t bytes_ = 0;
};

}  // namespace partlens
