#include "worker.h"

#include <cstring>
#include <string>

#include "error.h"

namespace partlens {

const char* code_of(const PlBackend& backend, PlStatus status) {
  if (status == PL_OUT_OF_MEMORY) return "E_MEMORY";
  return strcmp(backend.name, "cuda") == 0 ? "E_CUDA" : "E_BACKEND";
}

OpenDevice::OpenDevice(const PlBackend* backend, const PlOptions& options)
    : backend_(backend), options_(options) {
  const PlStatus status = backend->open(&options, &handle_);
  check(status == PL_OK, code_of(*backend, status),
        "[open] A device with " + std::to_string(options.threads) +
            " threads cannot be opened: " + backend->last_error() + ".");
}

OpenDevice::~OpenDevice() { backend_->close(handle_); }

namespace {

// By the backend's name: another PARTLENS_ISA is the same device.
struct Registry {
  std::mutex mutex;
  std::map<std::string, std::weak_ptr<Worker>> workers;
};

Registry& registry() {
  static Registry all;
  return all;
}

}  // namespace

std::shared_ptr<Worker> Worker::of(const PlBackend* backend) {
  std::lock_guard<std::mutex> lock(registry().mutex);
  auto& known = registry().workers[backend->name];
  auto worker = known.lock();
  if (!worker) known = worker = std::make_shared<Worker>(backend->wait ? 2 : 1);
  return worker;
}

std::vector<std::shared_ptr<Worker>> Worker::all() {
  std::lock_guard<std::mutex> lock(registry().mutex);
  std::vector<std::shared_ptr<Worker>> living;
  for (const auto& entry : registry().workers) {
    if (auto worker = entry.second.lock()) living.push_back(std::move(worker));
  }
  return living;
}

Worker::~Worker() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

std::shared_ptr<OpenDevice> Worker::device(const PlBackend* backend, const PlOptions& options) {
  std::lock_guard<std::mutex> lock(mutex_);
  const DeviceKey key(backend, options.index, options.threads, options.precision, options.accuracy);
  auto& known = devices_[key];
  auto device = known.lock();
  if (!device) known = device = std::make_shared<OpenDevice>(backend, options);
  return device;
}

void Worker::post(const void* owner, Work job) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    queue_.push_back({owner, std::move(job)});
  }
  wake_.notify_one();
}

std::vector<Work> Worker::take(const void* owner) {
  std::lock_guard<std::mutex> lock(mutex_);
  std::vector<Work> taken;
  std::deque<Entry> kept;
  for (Entry& entry : queue_) {
    if (entry.owner == owner)
      taken.push_back(std::move(entry.job));
    else
      kept.push_back(std::move(entry));
  }
  queue_.swap(kept);
  return taken;
}

void Worker::loop() {
  std::deque<std::function<void()>> started;
  for (;;) {
    Work job;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [&] { return stop_ || !queue_.empty() || !started.empty(); });
      if (!queue_.empty()) {
        job = std::move(queue_.front().job);
        queue_.pop_front();
      } else if (started.empty()) {
        return;
      }
    }
    if (job.start) {
      job.start();
      started.push_back(std::move(job.finish));
      if (started.size() < depth_) continue;
    }
    started.front()();
    started.pop_front();
  }
}

}  // namespace partlens
