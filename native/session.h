// One model on one device: its arena, its programs, and the device's worker thread that runs them.
#pragma once
#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "program.h"

namespace partlens {

// A device with the one thread that works on it. Jobs run first in, first out.
class Worker {
 public:
  // The worker of (backend, threads); lives as long as somebody holds it. Jobs must not hold it:
  // its destructor joins the thread that runs them.
  static std::shared_ptr<Worker> of(const PlBackend* backend, int32_t threads);

  Worker(const PlBackend* backend, int32_t threads);
  ~Worker();

  const PlBackend& backend() const { return *backend_; }
  PlDevice* device() const { return device_; }
  int32_t threads() const { return threads_; }
  void post(std::function<void()> job);

 private:
  void loop();

  const PlBackend* backend_;
  const int32_t threads_;
  PlDevice* device_ = nullptr;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> jobs_;
  bool stop_ = false;
  std::thread thread_;
};

// Host memory of one tensor on its way in or out, row-major.
struct Staging {
  int32_t slot;
  std::vector<char> bytes;
};

class Session {
 public:
  Session(std::shared_ptr<Worker> worker, int64_t arena_bytes);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  const std::shared_ptr<Worker>& worker() const { return worker_; }
  int64_t arena_bytes() const { return arena_bytes_; }

  int32_t add_program(const std::vector<int32_t>& words);
  // Throws E_ARGUMENT for an unknown program or slot.
  const Program& program(int32_t id) const;
  Program& program(int32_t id);
  const PlTensor& slot(int32_t id, int32_t slot) const;

  // On the worker's thread: uploads, runs the ops if asked to, downloads. Gives up with E_STATE
  // before the next op once `stop` is true.
  void execute(Program& program, const std::vector<Staging>& inputs, bool run,
               std::vector<Staging>& outputs, const std::atomic<bool>& stop);

  std::vector<int64_t> profile(int32_t id) const;

 private:
  void require(PlStatus status, const char* what) const;

  std::shared_ptr<Worker> worker_;
  int64_t arena_bytes_;
  void* arena_ = nullptr;
  std::deque<Program> programs_;  // a deque: a program stays where it is when another is added
  mutable std::mutex profile_mutex_;
};

// Physical memory that this process may use, in bytes: the machine's and the cgroup's limit.
int64_t memory_limit();

}  // namespace partlens
