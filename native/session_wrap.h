// The session as JS sees it, and the jobs that carry its calls to the worker and back.
#pragma once
#include <napi.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

#include "session.h"

namespace partlens {

struct Job;

// What one JS environment (main thread or worker_thread) keeps: nothing is static.
class AddonData {
 public:
  explicit AddonData(Napi::Env env);

  Napi::FunctionReference session_class;

  // Sends a job to the session's worker; its promise settles on this environment's thread.
  void submit(Napi::Env env, std::unique_ptr<Job> job);

 private:
  static void finish(Napi::Env env, Napi::Function, AddonData* data, Job* job);
  // The environment ends: waits for its kernel that runs, drops its jobs that wait. Node frees the
  // channel next, so that no worker may still be about to call it.
  static void close(AddonData* data);
  void count(int jobs);
  typedef Napi::TypedThreadSafeFunction<AddonData, Job, finish> Channel;

  Channel channel_;
  int pending_ = 0;  // the channel keeps the process alive while this is above 0
  std::mutex mutex_;
  std::condition_variable idle_;
  int posted_ = 0;  // jobs that a worker has, waiting or running
  std::atomic<bool> closing_{false};
  std::vector<Job*> dropped_;
};

class SessionWrap : public Napi::ObjectWrap<SessionWrap> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit SessionWrap(const Napi::CallbackInfo& info);
  ~SessionWrap() override;

 private:
  Napi::Value add_program(const Napi::CallbackInfo& info);
  Napi::Value run(const Napi::CallbackInfo& info);
  Napi::Value upload(const Napi::CallbackInfo& info);
  Napi::Value download(const Napi::CallbackInfo& info);
  Napi::Value profile(const Napi::CallbackInfo& info);
  Napi::Value info(const Napi::CallbackInfo& info);
  void dispose(const Napi::CallbackInfo& info);

  std::shared_ptr<Session> session() const;  // throws E_STATE after dispose
  Napi::Value submit(Napi::Env env, std::unique_ptr<Job> job);

  std::shared_ptr<Session> session_;
  int64_t reported_ = 0;
};

// The backend of that name, opened once. Throws E_ARGUMENT, E_BACKEND, E_CUDA with the reason.
const PlBackend* find_backend(const std::string& name);

}  // namespace partlens
