// Large blocks of memory in large pages, where the system has them: a first touch costs one fault
// for 2 MiB instead of 512, and the kernels miss fewer translations.
#pragma once
#include <cstddef>

namespace partlens {

// Uninitialised memory, at least 64-byte aligned, or nullptr. Give it back with free_pages().
void* allocate_pages(size_t bytes);
void free_pages(void* memory);

// Zeroed memory, at least 64-byte aligned, or nullptr. A large block comes fresh from the system
// and costs no time before it is used. Give it back with free_zeroed_pages().
void* allocate_zeroed_pages(size_t bytes);
void free_zeroed_pages(void* memory);

}  // namespace partlens
