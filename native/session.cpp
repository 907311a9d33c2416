#include "session.h"

#include <chrono>
#include <cstring>

#include "error.h"
#include "simd/limits.h"

namespace partlens {

namespace {

std::string in_mib(int64_t bytes) { return std::to_string(bytes >> 20) + " MiB"; }

// Linux grants memory that it does not have and ends the process that touches it: asks before.
void check_memory(int64_t bytes) {
  const int64_t limit = memory_limit(), free = memory_free();
  const std::string plan = "[createSession] The plan needs " + in_mib(bytes) + " but ";
  const auto number = [](int64_t value) { return static_cast<double>(value); };
  check(bytes >= 0 && bytes <= limit, "E_MEMORY",
        plan + "this machine allows " + in_mib(limit) + ".",
        {{"bytes", number(bytes)}, {"limit", number(limit)}});
  check(bytes <= free, "E_MEMORY", plan + in_mib(free) + " of this machine are free.",
        {{"bytes", number(bytes)}, {"free", number(free)}});
}

}  // namespace

Session::Session(const PlBackend* backend, const PlOptions& options, int64_t arena_bytes)
    : worker_(Worker::of(backend)),
      device_(worker_->device(backend, options)),
      arena_bytes_(arena_bytes) {
  if (arena_bytes < 0 || !strcmp(backend->name, "cpu")) check_memory(arena_bytes);
  const PlStatus status = backend->allocate(device_->handle(), arena_bytes, &arena_);
  check(
      status == PL_OK, code_of(*backend, status),
      "[createSession] The plan needs " + in_mib(arena_bytes) + ": " + backend->last_error() + ".",
      {{"bytes", static_cast<double>(arena_bytes)}});
}

Session::~Session() {
  const PlBackend& backend = device_->backend();
  for (const Program& program : programs_) {
    if (program.recording) backend.discard(device_->handle(), program.recording);
  }
  backend.release(device_->handle(), arena_);
}

int32_t Session::add_program(const std::vector<int32_t>& words) {
  char* arena = static_cast<char*>(arena_);
  programs_.push_back(decode_program(words, device_->backend(), arena, arena_bytes_));
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
  const PlBackend& backend = device_->backend();
  std::string text = std::string("[") + what + "] " + backend.last_error();
  if (status == PL_DEVICE_LOST) {
    text += ".\nThis process cannot use the device any more: start it again, or use --backend cpu.";
  }
  throw Error(code_of(backend, status), text);
}

void Session::call_ops(const Program& program, std::vector<int64_t>& times,
                       const std::atomic<bool>& stop) {
  auto last = std::chrono::steady_clock::now();
  for (size_t i = 0; i < program.ops.size(); i++) {
    check(!stop, "E_STATE", "[run] The environment of the session is closing.");
    const Op& op = program.ops[i];
    const PlStatus status = op.kernel->run(device_->handle(), op.tensors.data(), op.attrs.data());
    require(status, op.kernel->name);
    const auto now = std::chrono::steady_clock::now();
    times[i] = std::chrono::duration_cast<std::chrono::nanoseconds>(now - last).count();
    last = now;
  }
}

// A recording that cannot be finished must still be ended: the stream would stay in that state.
void Session::record(Program& program, const std::atomic<bool>& stop) {
  const PlBackend& backend = device_->backend();
  std::vector<int64_t> times(program.ops.size());
  require(backend.record_begin(device_->handle()), "record");
  try {
    call_ops(program, times, stop);
  } catch (...) {
    PlRecording* half = nullptr;
    if (backend.record_end(device_->handle(), &half) == PL_OK) {
      backend.discard(device_->handle(), half);
    }
    throw;
  }
  require(backend.record_end(device_->handle(), &program.recording), "record");
}

// The first run that succeeds calls the kernels one by one, which also reserves their scratch
// memory; a backend that can records the second, and replays that from then on.
void Session::run_ops(Program& program, const std::atomic<bool>& stop) {
  const PlBackend& backend = device_->backend();
  if (program.has_run && backend.replay) {
    if (!program.recording) record(program, stop);
    return require(backend.replay(device_->handle(), program.recording), "replay");
  }
  std::vector<int64_t> times(program.ops.size());
  call_ops(program, times, stop);
  program.has_run = true;
  std::lock_guard<std::mutex> lock(profile_mutex_);
  program.nanoseconds = std::move(times);
}

int64_t Session::start(Program& program, const std::vector<Staging>& inputs, bool run,
                       std::vector<Staging>& outputs, const std::atomic<bool>& stop) {
  const PlBackend& backend = device_->backend();
  PlDevice* device = device_->handle();
  const auto upload = backend.wait ? backend.upload_later : backend.upload;
  const auto download = backend.wait ? backend.download_later : backend.download;
  for (const Staging& input : inputs) {
    require(upload(device, &program.slots[input.slot], input.memory.data()), "upload");
  }
  if (run) run_ops(program, stop);
  for (Staging& output : outputs) {
    const PlTensor& slot = program.slots[output.slot];
    output.memory = HostMemory(backend, element_count(slot) * 4);
    require(download(device, &slot, output.memory.data()), "download");
  }
  int64_t ticket = 0;
  if (backend.wait) require(backend.draw_ticket(device, &ticket), "synchronize");
  return ticket;
}

void Session::finish(int64_t ticket) {
  const PlBackend& backend = device_->backend();
  if (backend.wait) require(backend.wait(device_->handle(), ticket), "synchronize");
}

void Session::settle() noexcept { device_->backend().synchronize(device_->handle()); }

std::vector<int64_t> Session::profile(int32_t id) const {
  const Program& found = program(id);
  std::lock_guard<std::mutex> lock(profile_mutex_);
  return found.nanoseconds;
}

}  // namespace partlens
