#include "thread_pool.h"

#include <algorithm>
#include <utility>

namespace partlens {

namespace {
constexpr int SPINS = 4000;  // about 50 us: longer than the gap between two kernels of a program

inline void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb");  // `yield` does nothing on most cores, this takes some 10 ns
#else
  std::this_thread::yield();
#endif
}
}  // namespace

ThreadPool::ThreadPool(int threads) : threads_(std::max(threads, 1)), shares_(threads_) {
  workers_.reserve(threads_ - 1);
  try {
    for (int worker = 1; worker < threads_; worker++) {
      workers_.emplace_back([this, worker] { loop(worker); });
    }
  } catch (...) {  // the system gives no more threads
    end();
    throw;
  }
}

ThreadPool::~ThreadPool() { end(); }

void ThreadPool::end() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
    generation_++;
  }
  wake_.notify_all();
  for (auto& worker : workers_) worker.join();
}

void ThreadPool::take(Share& share, int worker) {
  for (;;) {
    const int index = share.next.fetch_add(1, std::memory_order_relaxed);
    if (index >= share.end) return;
    task_(context_, index, worker);
  }
}

void ThreadPool::work(int worker) {
  try {
    for (int i = 0; i < threads_; i++) take(shares_[(worker + i) % threads_], worker);
  } catch (...) {
    for (Share& share : shares_) share.next.store(share.end, std::memory_order_relaxed);
    std::lock_guard<std::mutex> lock(mutex_);
    if (!error_) error_ = std::current_exception();
  }
}

void ThreadPool::loop(int worker) {
  uint64_t seen = 0;
  for (;;) {
    for (int i = 0; i < SPINS && generation_.load(std::memory_order_acquire) == seen; i++) pause();
    if (generation_.load(std::memory_order_acquire) == seen) {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [&] { return generation_.load(std::memory_order_acquire) != seen; });
    }
    seen = generation_.load(std::memory_order_acquire);
    if (stop_) return;
    work(worker);
    busy_.fetch_sub(1, std::memory_order_release);
  }
}

void ThreadPool::run(int count, Task task, void* context) {
  if (threads_ == 1 || count <= 1) {
    for (int index = 0; index < count; index++) task(context, index, 0);
    return;
  }
  task_ = task;
  context_ = context;
  for (int i = 0; i < threads_; i++) {
    shares_[i].end = (int)((int64_t)count * (i + 1) / threads_);
    shares_[i].next.store((int)((int64_t)count * i / threads_), std::memory_order_relaxed);
  }
  busy_.store(threads_ - 1, std::memory_order_relaxed);
  {
    std::lock_guard<std::mutex> lock(mutex_);
    generation_.fetch_add(1, std::memory_order_release);
  }
  wake_.notify_all();
  work(0);
  for (int i = 0; busy_.load(std::memory_order_acquire) != 0; i++) {
    if (i < SPINS)
      pause();
    else
      std::this_thread::yield();
  }
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

}  // namespace partlens
