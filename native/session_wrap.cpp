#include "session_wrap.h"

#include <algorithm>
#include <cmath>

#include "convert.h"
#include "simd/limits.h"

namespace partlens {

// One call on its way: made on the JS thread, executed by the worker, deleted on the JS thread.
struct Job {
  Job(Napi::Env env, std::shared_ptr<Session> of, int32_t id)
      : session(std::move(of)),
        program(session->program(id)),
        deferred(Napi::Promise::Deferred::New(env)) {}

  std::shared_ptr<Session> session;
  Program& program;
  bool run = false;
  std::vector<Staging> inputs;
  std::vector<Staging> outputs;
  std::unique_ptr<Error> error;  // if there was one
  Napi::Promise::Deferred deferred;

  void start(const std::atomic<bool>& stop) noexcept {
    begun = true;
    attempt([&] { ticket = session->start(program, inputs, run, outputs, stop); });
  }
  // Waits for what failed half-way too: the device may still read its inputs.
  void finish() noexcept {
    if (begun && error) session->settle();
    if (begun) attempt([&] { session->finish(ticket); });
  }

 private:
  bool begun = false;
  int64_t ticket = 0;

  template <class Body>
  void attempt(Body body) noexcept {
    if (error) return;
    try {
      body();
    } catch (const Error& caught) {
      error.reset(new Error(caught));
    } catch (const std::bad_alloc&) {
      error.reset(new Error("E_MEMORY", "[run] Out of memory for inputs or results."));
    } catch (const std::exception& caught) {
      error.reset(new Error("E_INTERNAL", caught.what()));
    }
  }
};

AddonData::AddonData(Napi::Env env) : channel_(Channel::New(env, "partlens", 0, 1, this)) {
  channel_.Unref(env);
  env.AddCleanupHook(close, this);
}

void AddonData::close(AddonData* data) {
  data->closing_ = true;
  for (const auto& worker : Worker::all()) {
    for (const Work& job : worker->take(data)) job.finish();  // drops what has not begun
  }
  std::unique_lock<std::mutex> lock(data->mutex_);
  data->idle_.wait(lock, [&] { return data->posted_ == 0; });
  for (Job* job : data->dropped_) delete job;
  data->dropped_.clear();
}

void AddonData::submit(Napi::Env env, std::unique_ptr<Job> owned) {
  Job* job = owned.get();
  count(1);  // before the worker can have done it
  try {
    const auto start = [this, job] {
      if (!closing_) job->start(closing_);
    };
    const auto finish = [this, job] {
      job->finish();
      const bool sent = !closing_ && channel_.BlockingCall(job) == napi_ok;
      std::lock_guard<std::mutex> lock(mutex_);
      if (!sent) dropped_.push_back(job);
      if (--posted_ == 0) idle_.notify_all();
    };
    job->session->worker().post(this, {start, finish});
  } catch (...) {
    count(-1);
    throw;
  }
  owned.release();
  if (pending_++ == 0) channel_.Ref(env);
}

void AddonData::count(int jobs) {
  std::lock_guard<std::mutex> lock(mutex_);
  posted_ += jobs;
}

namespace {

void settle(Napi::Env env, const Job& job) {
  if (job.error) {
    job.deferred.Reject(js_error(env, *job.error).Value());
    return;
  }
  Napi::Array results = Napi::Array::New(env, job.outputs.size());
  for (size_t i = 0; i < job.outputs.size(); i++) {
    const Staging& output = job.outputs[i];
    const int32_t dtype = job.program.slots[output.slot].dtype;
    results.Set(static_cast<uint32_t>(i), from_bytes(env, dtype, output.memory));
  }
  job.deferred.Resolve(results);
}

}  // namespace

void AddonData::finish(Napi::Env env, Napi::Function, AddonData* data, Job* raw) {
  std::unique_ptr<Job> job(raw);
  if (env == nullptr) return;
  if (--data->pending_ == 0) data->channel_.Unref(env);
  try {
    Napi::HandleScope scope(env);
    settle(env, *job);
  } catch (const Napi::Error&) {
    // A worker_thread that is being terminated takes no values; nobody waits for the promise.
  }
}

Napi::Function SessionWrap::define(Napi::Env env) {
  return DefineClass(env, "NativeSession",
                     {
                         InstanceMethod<&SessionWrap::add_program>("addProgram"),
                         InstanceMethod<&SessionWrap::run>("run"),
                         InstanceMethod<&SessionWrap::upload>("upload"),
                         InstanceMethod<&SessionWrap::download>("download"),
                         InstanceMethod<&SessionWrap::profile>("profile"),
                         InstanceMethod<&SessionWrap::info>("info"),
                         InstanceMethod<&SessionWrap::dispose>("dispose"),
                     });
}

// A number of bytes: -1 for any below 0, the most for NaN and for more than there can be.
static int64_t to_size(double bytes) {
  if (bytes < 0) return -1;
  return bytes < 9e18 ? static_cast<int64_t>(bytes) : INT64_MAX;
}

// A number of threads; 0 for all that are allowed.
static int32_t to_threads(const Napi::Value& value) {
  const double asked = value.As<Napi::Number>().DoubleValue();
  if (asked == 0) return std::min(allowed_threads(), MAX_THREADS);
  check(asked >= 1 && asked <= MAX_THREADS && asked == std::floor(asked), "E_ARGUMENT",
        "[createSession] Expected 1 to " + std::to_string(MAX_THREADS) + ", or 0 for all, for " +
            "threads but received " + value.ToString().Utf8Value() + ".");
  return static_cast<int32_t>(asked);
}

static const char* const PRECISIONS[] = {"fp32", "tf32", "bf16"};  // as PlPrecision

static const char* const ACCURACIES[] = {"fast", "high", "direct"};  // as PlAccuracy

// The place of an option's value in the list of its three names.
static int32_t to_choice(const Napi::Value& value, const char* const (&names)[3],
                         const char* option) {
  const std::string given = value.As<Napi::String>();
  for (int32_t i = 0; i < 3; i++) {
    if (given == names[i]) return i;
  }
  const std::string known = std::string(names[0]) + ", " + names[1] + " or " + names[2];
  throw Error("E_ARGUMENT", "[createSession] Expected " + known + " for " + option +
                                " but received " + given + ".");
}

SessionWrap::SessionWrap(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  guard(info.Env(), [&] {
    const bool typed = info[0].IsString() && info[1].IsNumber() && info[2].IsNumber() &&
                       info[3].IsString() && info[4].IsString();
    check(typed, "E_ARGUMENT",
          "[createSession] Expected backend, threads, arenaBytes, precision, accuracy.");
    const PlBackend* backend = find_backend(info[0].As<Napi::String>());
    const double bytes = info[2].As<Napi::Number>().DoubleValue();
    const PlOptions options = {0, to_threads(info[1]), to_choice(info[3], PRECISIONS, "precision"),
                               to_choice(info[4], ACCURACIES, "accuracy")};
    session_ = std::make_shared<Session>(backend, options, to_size(bytes));
    reported_ = session_->arena_bytes();
    Napi::MemoryManagement::AdjustExternalMemory(info.Env(), reported_);
  });
}

SessionWrap::~SessionWrap() {
  if (reported_) Napi::MemoryManagement::AdjustExternalMemory(Env(), -reported_);
}

std::shared_ptr<Session> SessionWrap::session() const {
  check(session_ != nullptr, "E_STATE", "[session] It has been disposed of.");
  return session_;
}

Napi::Value SessionWrap::add_program(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&] {
    const int32_t id = session()->add_program(to_ints(info[0], "program"));
    return Napi::Number::New(info.Env(), id);
  });
}

namespace {

std::vector<Staging> stage_inputs(const Session& session, int32_t id, const Napi::Value& slots,
                                  const Napi::Value& values) {
  const auto numbers = to_ints(slots, "slots");
  check(values.IsArray(), "E_ARGUMENT", "[native] Expected an array of typed arrays.");
  const auto arrays = values.As<Napi::Array>();
  check(arrays.Length() == numbers.size(), "E_ARGUMENT", "[native] Expected one array per slot.");
  std::vector<Staging> staged;
  for (uint32_t i = 0; i < arrays.Length(); i++) {
    const PlTensor& slot = session.slot(id, numbers[i]);
    const Napi::Value array = arrays.Get(i);
    staged.push_back(
        {numbers[i], to_bytes(session.device().backend(), array, slot.dtype, element_count(slot))});
  }
  return staged;
}

std::vector<Staging> stage_outputs(const Session& session, int32_t id, const Napi::Value& slots) {
  std::vector<Staging> staged;
  for (const int32_t number : to_ints(slots, "slots")) {
    session.slot(id, number);
    staged.push_back({number, {}});
  }
  return staged;
}

}  // namespace

Napi::Value SessionWrap::submit(Napi::Env env, std::unique_ptr<Job> job) {
  const Napi::Promise promise = job->deferred.Promise();
  env.GetInstanceData<AddonData>()->submit(env, std::move(job));
  return promise;
}

// run(program, inputSlots, inputs, fetchSlots)
Napi::Value SessionWrap::run(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&] {
    const int32_t id = to_int(info[0], "program");
    const auto held = session();  // a getter of the arrays may dispose of it
    auto inputs = stage_inputs(*held, id, info[1], info[2]);
    auto outputs = stage_outputs(*held, id, info[3]);
    auto job = std::make_unique<Job>(info.Env(), session(), id);
    job->run = true;
    job->inputs = std::move(inputs);
    job->outputs = std::move(outputs);
    return submit(info.Env(), std::move(job));
  });
}

// upload(program, slots, arrays)
Napi::Value SessionWrap::upload(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&] {
    const int32_t id = to_int(info[0], "program");
    const auto held = session();  // a getter of the arrays may dispose of it
    auto inputs = stage_inputs(*held, id, info[1], info[2]);
    auto job = std::make_unique<Job>(info.Env(), session(), id);
    job->inputs = std::move(inputs);
    return submit(info.Env(), std::move(job));
  });
}

// download(program, slots)
Napi::Value SessionWrap::download(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&] {
    const int32_t id = to_int(info[0], "program");
    auto outputs = stage_outputs(*session(), id, info[1]);
    auto job = std::make_unique<Job>(info.Env(), session(), id);
    job->outputs = std::move(outputs);
    return submit(info.Env(), std::move(job));
  });
}

// profile(program): nanoseconds of each op's last run
Napi::Value SessionWrap::profile(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&] {
    const auto times = session()->profile(to_int(info[0], "program"));
    auto result = Napi::Float64Array::New(info.Env(), times.size());
    for (size_t i = 0; i < times.size(); i++) result[i] = static_cast<double>(times[i]);
    return result;
  });
}

Napi::Value SessionWrap::info(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&] {
    const auto held = session();  // a setter of Object.prototype may dispose of it
    const OpenDevice& device = held->device();
    const PlBackend& backend = device.backend();
    auto result = Napi::Object::New(info.Env());
    result.Set("backend", backend.name);
    result.Set("isa", backend.isa);
    result.Set("precision", PRECISIONS[device.options().precision]);
    result.Set("accuracy", ACCURACIES[device.options().accuracy]);
    result.Set("threads", device.options().threads);
    result.Set("arenaBytes", static_cast<double>(held->arena_bytes()));
    result.Set("scratchBytes", static_cast<double>(backend.scratch_bytes(device.handle())));
    return result;
  });
}

// Pending jobs hold the session until they are done; new calls are E_STATE.
void SessionWrap::dispose(const Napi::CallbackInfo& info) {
  if (reported_) Napi::MemoryManagement::AdjustExternalMemory(info.Env(), -reported_);
  reported_ = 0;
  session_.reset();
}

}  // namespace partlens
