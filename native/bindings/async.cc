// SPDX-License-Identifier: MIT
#include "bindings/async.h"

#include <algorithm>
#include <map>
#include <new>
#include <utility>

#include "bindings/call.h"
#include "bindings/environment.h"
#include "bindings/errors.h"

namespace dynaquant {

// The calls of an environment. It is made at the first of them. As long as there are any, the
// environment stays alive; when it ends all the same, they end with it.
class AsyncCalls {
 public:
  static AsyncCalls& of(Napi::Env env) {
    AsyncCalls*& calls = addon_data(env).async_calls;
    if (calls == nullptr) calls = new AsyncCalls(env);
    return *calls;
  }

  std::uint32_t start(std::unique_ptr<AsyncCall> call, bool wants_team) {
    const std::uint32_t number = call->number_ = next_number_++;
    pending_.emplace(number, call.get());
    if (pending_.size() == 1) napi_ref_threadsafe_function(env_, wake_);
    jobs_.submit(std::move(call), wants_team);
    return number;
  }

  // Whether the call has not begun. Then it never will, nor settle.
  bool cancel(std::uint32_t number) {
    const auto found = pending_.find(number);
    if (found == pending_.end()) return false;
    const std::unique_ptr<Job> job = jobs_.withdraw(found->second);
    if (job != nullptr) forget(number);
    return job != nullptr;
  }

 private:
  explicit AsyncCalls(Napi::Env env) : env_(env), jobs_(notify, this) {
    napi_value name = Napi::String::New(env, "dynaquant");
    const napi_status status = napi_create_threadsafe_function(
        env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, this, settle_finished, &wake_);
    if (status != napi_ok) throw Napi::Error::New(env);
    napi_unref_threadsafe_function(env, wake_);
    // Hooks run in reverse, so this one comes before the end of `wake_` and of the AddonData.
    napi_add_env_cleanup_hook(env, close, this);
  }

  static void close(void* self) {
    AsyncCalls* calls = static_cast<AsyncCalls*>(self);
    addon_data(calls->env_).async_calls = nullptr;
    const napi_threadsafe_function wake = calls->wake_;
    delete calls;
    napi_release_threadsafe_function(wake, napi_tsfn_release);
  }

  // On any thread.
  static void notify(void* self) {
    napi_call_threadsafe_function(static_cast<AsyncCalls*>(self)->wake_, nullptr,
                                  napi_tsfn_nonblocking);
  }

  // On the environment's thread, without an environment if that is about to end.
  static void settle_finished(napi_env env, napi_value, void* self, void*) {
    if (env == nullptr) return;
    AsyncCalls& calls = *static_cast<AsyncCalls*>(self);
    while (const std::unique_ptr<Job> job = calls.jobs_.take_finished()) {
      const Napi::HandleScope scope(env);
      if (calls.settle(env, static_cast<const AsyncCall&>(*job))) continue;
      notify(self);  // for the rest; first Node hears of what was thrown
      return;
    }
  }

  // False if `settle` threw, which it does only where JavaScript is being ended.
  bool settle(napi_env env, const AsyncCall& call) {
    forget(call.number_);
    napi_value receiver, arguments[2], result;
    napi_get_undefined(env, &receiver);
    napi_create_int32(env, static_cast<std::int32_t>(call.status_), &arguments[0]);
    napi_create_double(env, call.bytes_, &arguments[1]);
    return napi_call_function(env, receiver, call.settle_.Value(), 2, arguments, &result) ==
           napi_ok;
  }

  void forget(std::uint32_t number) {
    pending_.erase(number);
    if (pending_.empty()) napi_unref_threadsafe_function(env_, wake_);
  }

  const Napi::Env env_;
  napi_threadsafe_function wake_ = nullptr;
  JobGroup jobs_;
  std::map<std::uint32_t, AsyncCall*> pending_;
  std::uint32_t next_number_ = 0;
};

void AsyncCall::run() noexcept {
  try {
    status_ = compute_();
  } catch (const OutOfMemory& error) {
    status_ = Status::kNoMemory;
    bytes_ = error.bytes();
  } catch (const std::bad_alloc&) {
    status_ = Status::kNoMemory;
  }
}

std::size_t AsyncArguments::size(std::size_t word, const char* name) const {
  return size_argument(info_.Env(), info_[arrays_ + 1 + word - kOwnWords], name);
}

const float* AsyncArguments::floats(std::size_t i, const char* name, std::size_t size) {
  const float* data = typed_array<float>(info_.Env(), info_[i], name, size);
  AlignedBuffer<float>& copy = call_->floats_.emplace_back(size);
  std::copy_n(data, size, copy.data());
  return copy.data();
}

const float* AsyncArguments::optional_floats(std::size_t i, const char* name, std::size_t size) {
  return info_[i].IsNull() ? nullptr : floats(i, name, size);
}

const std::int64_t* AsyncArguments::integers(std::size_t i, const char* name, std::size_t size) {
  const std::int64_t* data = typed_array<std::int64_t>(info_.Env(), info_[i], name, size);
  AlignedBuffer<std::int64_t>& copy = call_->integers_.emplace_back(size);
  std::copy_n(data, size, copy.data());
  return copy.data();
}

float* AsyncArguments::output(std::size_t i, const char* name, std::size_t size) {
  call_->kept_.push_back(Napi::Persistent(info_[i]));
  return typed_array<float>(info_.Env(), info_[i], name, size);
}

Napi::Value AsyncArguments::start(std::function<Status()> compute, bool wants_team) {
  const Napi::Env env = info_.Env();
  if (!info_[arrays_].IsFunction()) throw_type_error(env, "settle is not a function");
  call_->settle_ = Napi::Persistent(info_[arrays_].As<Napi::Function>());
  call_->compute_ = std::move(compute);
  return Napi::Number::New(env, AsyncCalls::of(env).start(std::move(call_), wants_team));
}

namespace {

// cancelCall(number): boolean
Napi::Value cancel_call(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::size_t number = size_argument(env, info[0], "number");
  return Napi::Boolean::New(env, AsyncCalls::of(env).cancel(static_cast<std::uint32_t>(number)));
}

}  // namespace

void init_async(Napi::Env env, Napi::Object exports) {
  exports.Set("cancelCall", Napi::Function::New<cancel_call>(env));
}

}  // namespace dynaquant
