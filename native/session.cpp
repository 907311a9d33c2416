#include "session.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <map>

#include "error.h"

namespace partlens {

std::shared_ptr<Worker> Worker::of(const PlBackend* backend, int32_t threads) {
  static std::mutex mutex;
  static std::map<std::pair<const PlBackend*, int32_t>, std::weak_ptr<Worker>> workers;
  std::lock_guard<std::mutex> lock(mutex);
  auto& known = workers[{backend, threads}];
  auto worker = known.lock();
  if (!worker) known = worker = std::make_shared<Worker>(backend, threads);
  return worker;
}

Worker::Worker(const PlBackend* backend, int32_t threads) : backend_(backend), threads_(threads) {
  const PlStatus status = backend->open(0, threads, &device_);
  const char* code = status == PL_OUT_OF_MEMORY ? "E_MEMORY" : "E_BACKEND";
  check(status == PL_OK, code, std::string("[open] ") + backend->last_error());
  thread_ = std::thread([this] { loop(); });
}

Worker::~Worker() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  thread_.join();
  backend_->close(device_);
}

void Worker::post(std::function<void()> job) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    jobs_.push_back(std::move(job));
  }
  wake_.notify_one();
}

void Worker::loop() {
  for (;;) {
    std::function<void()> job;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [&] { return stop_ || !jobs_.empty(); });
      if (jobs_.empty()) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    job();
  }
}

Session::Session(std::shared_ptr<Worker> worker, int64_t arena_bytes)
    : worker_(std::move(worker)), arena_bytes_(arena_bytes) {
  const std::string size = std::to_string(arena_bytes >> 20) + " MiB";
  check(arena_bytes >= 0 && arena_bytes <= memory_limit(), "E_MEMORY",
        "[createSession] The plan needs " + size + " but this machine allows " +
            std::to_string(memory_limit() >> 20) + " MiB.");
  const PlStatus status = worker_->backend().allocate(worker_->device(), arena_bytes, &arena_);
  check(status == PL_OK, "E_MEMORY", "[createSession] No " + size + " of memory to be had.");
}

Session::~Session() { worker_->backend().release(worker_->device(), arena_); }

int32_t Session::add_program(const std::vector<int32_t>& words) {
  char* arena = static_cast<char*>(arena_);
  programs_.push_back(decode_program(words, worker_->backend(), arena, arena_bytes_));
  return static_cast<int32_t>(programs_.size()) - 1;
}

const Program& Session::program(int32_t id) const {
  check(id >= 0 && id < static_cast<int32_t>(programs_.size()), "E_ARGUMENT",
        "[session] no program " + std::to_string(id));
  return programs_[id];
}

Program& Session::program(int32_t id) {
  return const_cast<Program&>(static_cast<const Session*>(this)->program(id));
}

const PlTensor& Session::slot(int32_t id, int32_t slot) const {
  const auto& slots = program(id).slots;
  check(slot >= 0 && slot < static_cast<int32_t>(slots.size()), "E_ARGUMENT",
        "[session] no slot " + std::to_string(slot));
  return slots[slot];
}

void Session::require(PlStatus status, const char* what) const {
  if (status == PL_OK) return;
  const char* code = status == PL_OUT_OF_MEMORY ? "E_MEMORY" : "E_BACKEND";
  throw Error(code, std::string("[") + what + "] " + worker_->backend().last_error());
}

void Session::execute(Program& program, const std::vector<Staging>& inputs, bool run,
                      std::vector<Staging>& outputs, const std::atomic<bool>& stop) {
  const PlBackend& backend = worker_->backend();
  PlDevice* device = worker_->device();
  for (const Staging& input : inputs) {
    require(backend.upload(device, &program.slots[input.slot], input.bytes.data()), "upload");
  }
  if (run) {
    std::vector<int64_t> times(program.ops.size());
    auto last = std::chrono::steady_clock::now();
    for (size_t i = 0; i < program.ops.size(); i++) {
      check(!stop, "E_STATE", "[run] The environment of the session is closing.");
      const Op& op = program.ops[i];
      require(op.kernel->run(device, op.tensors.data(), op.attrs.data()), op.kernel->name);
      const auto now = std::chrono::steady_clock::now();
      times[i] = std::chrono::duration_cast<std::chrono::nanoseconds>(now - last).count();
      last = now;
    }
    std::lock_guard<std::mutex> lock(profile_mutex_);
    program.nanoseconds = std::move(times);
  }
  for (Staging& output : outputs) {
    const PlTensor& slot = program.slots[output.slot];
    output.bytes.resize(element_count(slot) * 4);
    require(backend.download(device, &slot, output.bytes.data()), "download");
  }
  require(backend.synchronize(device), "synchronize");
}

std::vector<int64_t> Session::profile(int32_t id) const {
  const Program& found = program(id);
  std::lock_guard<std::mutex> lock(profile_mutex_);
  return found.nanoseconds;
}

int64_t memory_limit() {
  int64_t limit = int64_t{1} * sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
  for (const char* path :
       {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    int64_t allowed = 0;  // "max" reads as no number
    if (std::ifstream(path) >> allowed && allowed > 0) limit = std::min(limit, allowed);
  }
  return limit;
}

}  // namespace partlens
