// One model on one device: its arena and its programs, which the worker's thread runs.
#pragma once
#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "host_memory.h"
#include "program.h"
#include "worker.h"

namespace partlens {

// Host memory of one tensor on its way in or out, row-major.
struct Staging {
  int32_t slot;
  HostMemory memory;
};

class Session {
 public:
  // Throws E_MEMORY for more than this machine has, before any of it is touched.
  Session(const PlBackend* backend, const PlOptions& options, int64_t arena_bytes);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  Worker& worker() const { return *worker_; }
  const OpenDevice& device() const { return *device_; }
  int64_t arena_bytes() const { return arena_bytes_; }

  int32_t add_program(const std::vector<int32_t>& words);
  // Throws E_ARGUMENT for an unknown program or slot.
  const Program& program(int32_t id) const;
  Program& program(int32_t id);
  const PlTensor& slot(int32_t id, int32_t slot) const;

  // On the worker's thread: uploads, runs the ops if asked to, downloads. Gives up with E_STATE
  // before the next op once `stop` is true. Returns a ticket: inputs are needed and outputs are
  // there once `finish` has waited for it.
  int64_t start(Program& program, const std::vector<Staging>& inputs, bool run,
                std::vector<Staging>& outputs, const std::atomic<bool>& stop);
  void finish(int64_t ticket);
  void settle() noexcept;  // waits for whatever is under way

  std::vector<int64_t> profile(int32_t id) const;

 private:
  void require(PlStatus status, const char* what) const;
  void run_ops(Program& program, const std::atomic<bool>& stop);
  void call_ops(const Program& program, std::vector<int64_t>& times, const std::atomic<bool>& stop);
  void record(Program& program, const std::atomic<bool>& stop);

  std::shared_ptr<Worker> worker_;
  std::shared_ptr<OpenDevice> device_;
  int64_t arena_bytes_;
  void* arena_ = nullptr;
  std::deque<Program> programs_;  // a deque: a program stays where it is when another is added
  mutable std::mutex profile_mutex_;
};

}  // namespace partlens
