// The addon's functions: cudaLibrary, describe, devices, bytesOf, createSession, lockFile.
#include <napi.h>

#include <memory>

#include "convert.h"
#include "cpu_dispatch.h"
#include "cuda_loader.h"
#include "file_lock.h"
#include "program.h"
#include "session_wrap.h"
#include "simd/limits.h"

namespace partlens {

const PlBackend* find_backend(const std::string& name) {
  if (name == "cpu") {
    const char* reason = "";
    const PlBackend* backend = cpu_backend(&reason);
    check(backend != nullptr, "E_BACKEND", reason);
    return backend;
  }
  check(name == "cuda", "E_ARGUMENT", "[native] no backend " + name);
  std::string reason;
  const PlBackend* backend = cuda_backend(&reason);
  check(backend != nullptr, "E_CUDA", "[cuda] Not available: " + reason + ".");
  return backend;
}

namespace {

// cudaLibrary(path): where lib/engine/addon.ts found the CUDA library.
Napi::Value cuda_library(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&] {
    set_cuda_library(info[0].ToString());
    return info.Env().Undefined();
  });
}

// describe(backend): what kernels.def and attrs.def say, for lib/engine/binding.ts to compare.
Napi::Value describe(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guard(env, [&] {
    const PlBackend* backend = find_backend(info[0].ToString());
    auto kernels = Napi::Array::New(env, backend->kernel_count);
    for (int32_t i = 0; i < backend->kernel_count; i++) {
      const PlKernelEntry& entry = backend->kernels[i];
      auto kernel = Napi::Object::New(env);
      kernel.Set("name", entry.name);
      kernel.Set("inputs", entry.inputs);
      kernel.Set("outputs", entry.outputs);
      kernel.Set("attrs", entry.attrs);
      kernels.Set(i, kernel);
    }
    auto attrs = Napi::Object::New(env);
    for (int32_t i = 0; i < backend->attrs_count; i++) {
      attrs.Set(backend->attrs[i].name, backend->attrs[i].fields);
    }
    auto result = Napi::Object::New(env);
    result.Set("version", PL_CONTRACT_VERSION);
    result.Set("kernels", kernels);
    result.Set("attrs", attrs);
    return result;
  });
}

Napi::Object device_entry(Napi::Env env, const char* backend, const PlBackend* found,
                          const std::string& reason) {
  auto device = Napi::Object::New(env);
  device.Set("backend", backend);
  device.Set("available", found != nullptr);
  device.Set("reason", reason);
  device.Set("isa", found ? found->isa : "");
  return device;
}

// devices(): every backend, whether it can be used, and if not why.
Napi::Value devices(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guard(env, [&] {
    const char* cpu_reason = "";
    const PlBackend* cpu = cpu_backend(&cpu_reason);
    auto first = device_entry(env, "cpu", cpu, cpu_reason);
    first.Set("threads", allowed_threads());
    first.Set("memoryBytes", static_cast<double>(memory_limit()));
    std::string cuda_reason;
    const PlBackend* cuda = cuda_backend(&cuda_reason);
    auto result = Napi::Array::New(env, 2);
    result.Set(0u, first);
    auto second = device_entry(env, "cuda", cuda, cuda_reason);
    if (cuda) {
      second.Set("name", cuda->device_name);
      second.Set("memoryBytes", static_cast<double>(cuda->device_bytes));
    }
    result.Set(1u, second);
    return result;
  });
}

// bytesOf(backend, [dtype, layout, rank, d0..d3, c, h, w]): physical size.
Napi::Value bytes_of(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&] {
    const auto words = to_ints(info[1], "type");
    check(words.size() == 10, "E_ARGUMENT", "[native] Expected 10 numbers for type.");
    PlTensor tensor = {};
    tensor.dtype = words[0];
    tensor.layout = words[1];
    tensor.rank = words[2];
    for (int i = 0; i < 4; i++) tensor.dims[i] = words[3 + i];
    for (int i = 0; i < 3; i++) tensor.chw[i] = words[7 + i];
    check_tensor(tensor);
    const int64_t bytes = find_backend(info[0].ToString())->bytes_of(&tensor);
    return Napi::Number::New(info.Env(), static_cast<double>(bytes));
  });
}

// createSession(backend, threads, arenaBytes, precision, accuracy); threads: 0 = all that are
// allowed
Napi::Value create_session(const Napi::CallbackInfo& info) {
  auto& data = *info.Env().GetInstanceData<AddonData>();
  return data.session_class.New({info[0], info[1], info[2], info[3], info[4]});
}

// lockFile(path, told): a function that gives the lock back, or undefined where another has it. The
// lock lives no longer than that function, and than the environment (a worker_thread) that asked.
Napi::Value lock_file(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guard(env, [&]() -> Napi::Value {
    const auto lock = std::make_shared<FileLock>(info[0].ToString(), info[1].ToString());
    if (!lock->held()) return env.Undefined();
    return Napi::Function::New(
        env, [lock](const Napi::CallbackInfo&) { lock->release(); }, "release");
  });
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  auto* data = new AddonData(env);
  env.SetInstanceData(data);
  data->session_class = Napi::Persistent(SessionWrap::define(env));
  exports.Set("cudaLibrary", Napi::Function::New(env, cuda_library));
  exports.Set("describe", Napi::Function::New(env, describe));
  exports.Set("devices", Napi::Function::New(env, devices));
  exports.Set("bytesOf", Napi::Function::New(env, bytes_of));
  exports.Set("createSession", Napi::Function::New(env, create_session));
  exports.Set("lockFile", Napi::Function::New(env, lock_file));
  return exports;
}

}  // namespace
}  // namespace partlens

static Napi::Object Init(Napi::Env env, Napi::Object exports) {
  return partlens::init(env, exports);
}
NODE_API_MODULE(partlens, Init)
