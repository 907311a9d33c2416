// A backend's open devices and the one thread that works on them.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <tuple>
#include <vector>

#include "backend.h"

namespace partlens {

constexpr int32_t MAX_THREADS = 1024;

// The error code of a failed call.
const char* code_of(const PlBackend& backend, PlStatus status);

// A device of a backend, open as long as somebody holds it.
class OpenDevice {
 public:
  // Throws E_BACKEND, E_MEMORY.
  OpenDevice(const PlBackend* backend, const PlOptions& options);
  ~OpenDevice();
  OpenDevice(const OpenDevice&) = delete;
  OpenDevice& operator=(const OpenDevice&) = delete;

  const PlBackend& backend() const { return *backend_; }
  PlDevice* handle() const { return handle_; }
  const PlOptions& options() const { return options_; }

 private:
  const PlBackend* backend_;
  const PlOptions options_;
  PlDevice* handle_ = nullptr;
};

// A job in two halves: what sends work to the device, and what waits for its results.
struct Work {
  std::function<void()> start, finish;
};

// The one thread of the process that works for a backend. The jobs of all sessions, whatever their
// number of threads, run first in, first out: one at a time, or, where the device works by itself,
// with the start of the next before the finish of the last.
class Worker {
 public:
  // Lives as long as somebody holds it. Jobs must not hold it: its destructor joins their thread.
  static std::shared_ptr<Worker> of(const PlBackend* backend);
  static std::vector<std::shared_ptr<Worker>> all();

  explicit Worker(size_t depth) : depth_(depth), thread_([this] { loop(); }) {}
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // The device with these options, shared by the sessions that ask for it.
  std::shared_ptr<OpenDevice> device(const PlBackend* backend, const PlOptions& options);

  // `owner` only marks the job for `take`.
  void post(const void* owner, Work job);
  // Takes an owner's jobs that have not begun out of the queue.
  std::vector<Work> take(const void* owner);

 private:
  struct Entry {
    const void* owner;
    Work job;
  };

  void loop();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Entry> queue_;
  typedef std::tuple<const PlBackend*, int32_t, int32_t, int32_t, int32_t> DeviceKey;
  std::map<DeviceKey, std::weak_ptr<OpenDevice>> devices_;
  bool stop_ = false;
  const size_t depth_;  // jobs that may have started and not finished
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace partlens
