#include "pages.h"

#ifdef _WIN32
#include <malloc.h>
#else
#include <sys/mman.h>
#endif

#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace partlens {

namespace {

constexpr size_t LINE = 64, PAGE = 4096, LARGE_PAGE = size_t{2} << 20;

size_t round_up(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }
size_t page_for(size_t bytes) {
  return bytes >= 2 * LARGE_PAGE ? LARGE_PAGE : bytes >= PAGE ? PAGE : LINE;
}

// A wish: the kernel may have none, or know no large pages.
void advise_large([[maybe_unused]] void* memory, [[maybe_unused]] size_t bytes) {
#ifdef MADV_HUGEPAGE
  if (page_for(bytes) == LARGE_PAGE)
    madvise(memory, bytes / LARGE_PAGE * LARGE_PAGE, MADV_HUGEPAGE);
#endif
}

}  // namespace

void* allocate_pages(size_t bytes) {
  const size_t page = page_for(bytes), size = round_up(bytes ? bytes : 1, page);
  if (size < bytes) return nullptr;
#ifdef _WIN32
  void* memory = _aligned_malloc(size, page);
#else
  void* memory = std::aligned_alloc(page, size);
#endif
  if (memory) advise_large(memory, size);
  return memory;
}

void free_pages(void* memory) {
#ifdef _WIN32
  _aligned_free(memory);
#else
  std::free(memory);
#endif
}

// calloc's own address is kept right before the aligned one.
void* allocate_zeroed_pages(size_t bytes) {
  const size_t page = page_for(bytes), size = bytes + 2 * page;
  char* block = size > bytes ? static_cast<char*>(std::calloc(size, 1)) : nullptr;
  if (!block) return nullptr;
  const uintptr_t start = reinterpret_cast<uintptr_t>(block) + sizeof block;
  char* memory = block + sizeof block + (round_up(start, page) - start);
  advise_large(memory, bytes);
  std::memcpy(memory - sizeof block, &block, sizeof block);
  return memory;
}

void free_zeroed_pages(void* memory) {
  if (!memory) return;
  void* block;
  std::memcpy(&block, static_cast<char*>(memory) - sizeof block, sizeof block);
  std::free(block);
}

}  // namespace partlens
