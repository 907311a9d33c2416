// A fiber: a stack and a place to continue. x86-64 only; the sanitizers are told of every switch.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <vector>

#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#define EMULATOR_UNSEEN __attribute__((no_sanitize("thread")))
extern "C" void AnnotateIgnoreReadsBegin(const char*, int);
extern "C" void AnnotateIgnoreReadsEnd(const char*, int);
extern "C" void AnnotateIgnoreWritesBegin(const char*, int);
extern "C" void AnnotateIgnoreWritesEnd(const char*, int);
#else
#define EMULATOR_UNSEEN
#endif

#ifndef __x86_64__
#error "the CUDA emulator switches stacks on x86-64 only"
#endif

namespace emulator {

// While one lives, ThreadSanitizer ignores what this thread reads and writes: the emulator's own
// bookkeeping is not part of the kernel under test.
struct Unseen {
#if defined(__SANITIZE_THREAD__)
  Unseen() {
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
  }
  ~Unseen() {
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
  }
#else
  Unseen() {}
#endif
};

// ThreadSanitizer's view of synchronisation: what was written before `release(tag)` may be read
// after `acquire(tag)`.
EMULATOR_UNSEEN inline void release(void* tag) {
  (void)tag;
#if defined(__SANITIZE_THREAD__)
  __tsan_release(tag);
#endif
}
EMULATOR_UNSEEN inline void acquire(void* tag) {
  (void)tag;
#if defined(__SANITIZE_THREAD__)
  __tsan_acquire(tag);
#endif
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr size_t STACK_BYTES = 256 << 10;
#else
constexpr size_t STACK_BYTES = 64 << 10;
#endif

// Pushes the registers that a callee keeps, stores the stack pointer in *save and continues at
// `to`.
extern "C" void partlens_emulator_switch(void** save, void* to);
asm(R"(
.text
.weak partlens_emulator_switch
.type partlens_emulator_switch, @function
partlens_emulator_switch:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, (%rdi)
  mov %rsi, %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  ret
.size partlens_emulator_switch, .-partlens_emulator_switch
)");

struct Stack {
  char* memory = nullptr;
  void* tsan =
      nullptr;  // ThreadSanitizer's fiber: one for the stack's life, as both are slow to make
};

// Stacks that are used again. A block without barriers needs one; under ThreadSanitizer, for which
// all that happens on one stack is in order, CUDA threads take turns on more than there are of
// them.
class Stacks {
 public:
  ~Stacks() {
    for (const Stack& stack : free_) {
      munmap(stack.memory, STACK_BYTES);
#if defined(__SANITIZE_THREAD__)
      __tsan_destroy_fiber(stack.tsan);
#endif
    }
  }

  Stack take(size_t threads) {
    (void)threads;
#if defined(__SANITIZE_THREAD__)
    while (made_ < threads + 5) free_.push_back(make());
    const Stack stack = free_.front();
    free_.pop_front();
#else
    if (free_.empty()) free_.push_back(make());
    const Stack stack = free_.back();
    free_.pop_back();
#endif
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(stack.memory, STACK_BYTES);
#endif
    return stack;
  }
  void give_back(const Stack& stack) { free_.push_back(stack); }

 private:
  Stack make() {
    void* memory = mmap(nullptr, STACK_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
      perror("emulator: stack of a CUDA thread");
      abort();
    }
    made_++;
    Stack stack;
    stack.memory = static_cast<char*>(memory);
#if defined(__SANITIZE_THREAD__)
    stack.tsan = __tsan_create_fiber(0);
#endif
    return stack;
  }

  std::deque<Stack> free_;
  size_t made_ = 0;
};
// Of one operating system thread.
inline thread_local Stacks stacks;

// The scheduler's side of a switch, one per operating system thread.
struct Scheduler {
  void* stack_pointer = nullptr;
  const void* bottom = nullptr;  // of its own stack, learned by ASan at the first switch
  size_t size = 0;
  void* fake_stack = nullptr;
  void* tsan = nullptr;
};

struct Fiber {
  void* stack_pointer = nullptr;
  Stack stack;
  void* fake_stack = nullptr;

  void start(void (*entry)(), int index, size_t threads) {
    stack = stacks.take(threads);
    // Tops are spread over the sets of the cache; the first "return" goes to `entry`.
    const uintptr_t top =
        reinterpret_cast<uintptr_t>(stack.memory) + STACK_BYTES - index % 61 * 192;
    void** sp = reinterpret_cast<void**>(top & ~static_cast<uintptr_t>(15));
    *--sp = nullptr;
    *--sp = reinterpret_cast<void*>(entry);
    for (int i = 0; i < 6; i++) *--sp = nullptr;
    stack_pointer = sp;
    fake_stack = nullptr;
  }

  void end() {
    stacks.give_back(stack);
    stack = Stack();
  }

  // Scheduler -> fiber; returns when the fiber gives way.
  EMULATOR_UNSEEN void resume(Scheduler& scheduler) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&scheduler.fake_stack, stack.memory, STACK_BYTES);
#endif
#if defined(__SANITIZE_THREAD__)
    __tsan_switch_to_fiber(stack.tsan, __tsan_switch_to_fiber_no_sync);
#endif
    partlens_emulator_switch(&scheduler.stack_pointer, stack_pointer);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(scheduler.fake_stack, nullptr, nullptr);
#endif
  }

  // Fiber -> scheduler.
  EMULATOR_UNSEEN void yield(Scheduler& scheduler, bool last) {
    (void)last;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(last ? nullptr : &fake_stack, scheduler.bottom, scheduler.size);
#endif
#if defined(__SANITIZE_THREAD__)
    __tsan_switch_to_fiber(scheduler.tsan, __tsan_switch_to_fiber_no_sync);
#endif
    partlens_emulator_switch(&stack_pointer, scheduler.stack_pointer);
    arrived(scheduler);
  }

  // First thing on a fiber's stack after every switch to it.
  EMULATOR_UNSEEN void arrived(Scheduler& scheduler) {
    (void)scheduler;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake_stack, &scheduler.bottom, &scheduler.size);
#endif
  }
};

}  // namespace emulator
