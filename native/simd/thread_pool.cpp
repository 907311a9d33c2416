#include "thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>

namespace partlens {

namespace {
constexpr int SPINS = 4000;  // about 50 us: longer than the gap between two kernels of a program

inline void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}
}  // namespace

ThreadPool::ThreadPool(int threads) : threads_(std::max(threads, 1)) {
  workers_.reserve(threads_ - 1);
  for (int worker = 1; worker < threads_; worker++) {
    workers_.emplace_back([this, worker] { loop(worker); });
  }
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
    generation_++;
  }
  wake_.notify_all();
  for (auto& worker : workers_) worker.join();
}

void ThreadPool::work(int worker) {
  for (;;) {
    const int index = next_.fetch_add(1, std::memory_order_relaxed);
    if (index >= count_) return;
    task_(context_, index, worker);
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
  count_ = count;
  next_.store(0, std::memory_order_relaxed);
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
}

namespace {
// CPUs of the cgroup's quota, or infinity. v2: "max 100000" or "200000 100000"; v1: two files.
double cgroup_quota() {
  double quota = 0, period = 0;
  std::string word;
  std::ifstream v2("/sys/fs/cgroup/cpu.max");
  if (v2 >> word >> period) {
    if (word == "max" || period <= 0) return INFINITY;
    return std::stod(word) / period;
  }
  std::ifstream("/sys/fs/cgroup/cpu/cpu.cfs_quota_us") >> quota;
  std::ifstream("/sys/fs/cgroup/cpu/cpu.cfs_period_us") >> period;
  return quota > 0 && period > 0 ? quota / period : INFINITY;
}
}  // namespace

int allowed_threads() {
  int count = static_cast<int>(std::thread::hardware_concurrency());
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) count = CPU_COUNT(&set);
#endif
  const double quota = cgroup_quota();
  if (quota < count) count = static_cast<int>(std::ceil(quota));
  return std::max(count, 1);
}

}  // namespace partlens
