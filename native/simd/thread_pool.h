// Threads that share the tasks of one parallel loop at a time. Workers spin briefly after a loop,
// since the next one follows within microseconds in a running program, then sleep. Each begins with
// a share of its own, the same of every loop: what it reads was often written by its own core.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace partlens {

class ThreadPool {
 public:
  typedef void (*Task)(void* context, int index, int worker);

  // Throws std::system_error if there are not so many threads to be had.
  explicit ThreadPool(int threads);
  ~ThreadPool();

  int threads() const { return threads_; }

  // Runs task 0..count-1, in any order, on the caller and the workers; returns when all are done.
  // Throws what the first task to fail has thrown; the tasks not begun by then are left out.
  void run(int count, Task task, void* context);

 private:
  // Consecutive tasks that one thread begins with; others take from them when theirs are done.
  struct alignas(64) Share {
    std::atomic<int> next{0};
    int end = 0;
  };

  void loop(int worker);
  void work(int worker);
  void take(Share& share, int worker);
  void end();

  const int threads_;
  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<uint64_t> generation_{0};
  std::vector<Share> shares_;  // one for each thread
  std::atomic<int> busy_{0};
  std::atomic<bool> stop_{false};
  Task task_ = nullptr;
  void* context_ = nullptr;
  std::exception_ptr error_;  // of a task
};

}  // namespace partlens
