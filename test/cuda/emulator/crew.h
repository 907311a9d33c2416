// The operating system threads on which blocks run.
#pragma once
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace emulator {

// They live on: so do their stacks, which are slow to make.
class Crew {
 public:
  // The one crew of the process, with the threads that its first caller asks for.
  static Crew& all(int threads) {
    static Crew crew(threads);
    return crew;
  }
  // Calls job(0) here and job(1) .. job(count - 1) on the others; returns when all are done.
  void run(int count, const std::function<void(int)>& job) {
    std::lock_guard<std::mutex> one(launch_);  // at a time
    {
      std::lock_guard<std::mutex> lock(mutex_);
      job_ = &job;
      wanted_ = count;
      pending_ = static_cast<int>(others_.size());
      generation_++;
    }
    wake_.notify_all();
    job(0);
    std::unique_lock<std::mutex> lock(mutex_);
    idle_.wait(lock, [&] { return pending_ == 0; });
  }

 private:
  explicit Crew(int threads) {
    for (int i = 1; i < threads; i++) others_.emplace_back([this, i] { loop(i); });
  }
  ~Crew() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    for (std::thread& other : others_) other.join();
  }
  void loop(int index) {
    for (unsigned seen = 0;;) {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [&] { return stop_ || generation_ != seen; });
      if (stop_) return;
      seen = generation_;
      const std::function<void(int)>* job = index < wanted_ ? job_ : nullptr;
      lock.unlock();
      if (job) (*job)(index);
      lock.lock();
      if (--pending_ == 0) idle_.notify_one();
    }
  }

  std::mutex launch_, mutex_;
  std::condition_variable wake_, idle_;
  const std::function<void(int)>* job_ = nullptr;
  int wanted_ = 0, pending_ = 0;
  unsigned generation_ = 0;
  bool stop_ = false;
  std::vector<std::thread> others_;  // last: they use all of the above
};

}  // namespace emulator
