#include "session_wrap.h"

#include "convert.h"

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
  const char* code = nullptr;  // of the error, if there was one
  std::string message;
  Napi::Promise::Deferred deferred;

  void execute(const std::atomic<bool>& stop) noexcept {
    try {
      session->execute(program, inputs, run, outputs, stop);
    } catch (const Error& error) {
      code = error.code();
      message = error.what();
    } catch (const std::exception& error) {
      code = dynamic_cast<const std::bad_alloc*>(&error) ? "E_MEMORY" : "E_INTERNAL";
      message = error.what();
    }
  }
};

AddonData::AddonData(Napi::Env env) : channel_(Channel::New(env, "partlens", 0, 1, this)) {
  channel_.Unref(env);
  env.AddCleanupHook(close, this);
}

void AddonData::close(AddonData* data) {
  std::unique_lock<std::mutex> lock(data->mutex_);
  data->closing_ = true;
  data->idle_.wait(lock, [&] { return data->posted_ == 0; });
  for (Job* job : data->dropped_) delete job;
  data->dropped_.clear();
}

void AddonData::submit(Napi::Env env, Job* job) {
  if (pending_++ == 0) channel_.Ref(env);
  {
    std::lock_guard<std::mutex> lock(mutex_);
    posted_++;
  }
  job->session->worker()->post([this, job] {
    if (!closing_) job->execute(closing_);
    std::lock_guard<std::mutex> lock(mutex_);
    if (closing_ || channel_.BlockingCall(job) != napi_ok) dropped_.push_back(job);
    if (--posted_ == 0) idle_.notify_all();
  });
}

namespace {

void settle(Napi::Env env, const Job& job) {
  if (job.code) {
    job.deferred.Reject(js_error(env, job.code, job.message).Value());
    return;
  }
  Napi::Array results = Napi::Array::New(env, job.outputs.size());
  for (size_t i = 0; i < job.outputs.size(); i++) {
    const Staging& output = job.outputs[i];
    const int32_t dtype = job.program.slots[output.slot].dtype;
    results.Set(static_cast<uint32_t>(i), from_bytes(env, dtype, output.bytes));
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

SessionWrap::SessionWrap(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  guard(info.Env(), [&] {
    check(info[0].IsString() && info[1].IsNumber() && info[2].IsNumber(), "E_ARGUMENT",
          "[createSession] Expected backend, threads, arenaBytes.");
    const PlBackend* backend = find_backend(info[0].As<Napi::String>());
    auto worker = Worker::of(backend, to_int(info[1], "threads"));
    const double bytes = info[2].As<Napi::Number>().DoubleValue();
    const int64_t arena_bytes = bytes < 9e18 ? static_cast<int64_t>(bytes) : INT64_MAX;
    session_ = std::make_shared<Session>(worker, arena_bytes);
    reported_ = session_->arena_bytes();
    Napi::MemoryManagement::AdjustExternalMemory(info.Env(), reported_);
  });
}

SessionWrap::~SessionWrap() {
  if (reported_) Napi::MemoryManagement::AdjustExternalMemory(Env(), -reported_);
}

const std::shared_ptr<Session>& SessionWrap::session() const {
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
    staged.push_back({numbers[i], to_bytes(array, slot.dtype, element_count(slot))});
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

Napi::Value SessionWrap::submit(Napi::Env env, Job* job) {
  const Napi::Promise promise = job->deferred.Promise();
  env.GetInstanceData<AddonData>()->submit(env, job);
  return promise;
}

// run(program, inputSlots, inputs, fetchSlots)
Napi::Value SessionWrap::run(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&] {
    const int32_t id = to_int(info[0], "program");
    auto inputs = stage_inputs(*session(), id, info[1], info[2]);
    auto outputs = stage_outputs(*session(), id, info[3]);
    Job* job = new Job(info.Env(), session(), id);
    job->run = true;
    job->inputs = std::move(inputs);
    job->outputs = std::move(outputs);
    return submit(info.Env(), job);
  });
}

// upload(program, slots, arrays)
Napi::Value SessionWrap::upload(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&] {
    const int32_t id = to_int(info[0], "program");
    auto inputs = stage_inputs(*session(), id, info[1], info[2]);
    Job* job = new Job(info.Env(), session(), id);
    job->inputs = std::move(inputs);
    return submit(info.Env(), job);
  });
}

// download(program, slots)
Napi::Value SessionWrap::download(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&] {
    const int32_t id = to_int(info[0], "program");
    auto outputs = stage_outputs(*session(), id, info[1]);
    Job* job = new Job(info.Env(), session(), id);
    job->outputs = std::move(outputs);
    return submit(info.Env(), job);
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
    const Worker& worker = *session()->worker();
    auto result = Napi::Object::New(info.Env());
    result.Set("backend", worker.backend().name);
    result.Set("isa", worker.backend().isa);
    result.Set("threads", worker.threads());
    result.Set("arenaBytes", static_cast<double>(session()->arena_bytes()));
    const int64_t scratch = worker.backend().scratch_bytes(worker.device());
    result.Set("scratchBytes", static_cast<double>(scratch));
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
