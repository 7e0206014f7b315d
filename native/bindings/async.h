// SPDX-License-Identifier: MIT
// Calls that run on other threads. src/native/call-async.ts is the other side.
//
// Whatever such a call reads is copied before it starts, because JavaScript may change or transfer
// its arrays meanwhile. It writes into arrays that nobody else has: they are kept alive until it
// has settled.
#ifndef DYNAQUANT_BINDINGS_ASYNC_H_
#define DYNAQUANT_BINDINGS_ASYNC_H_

#include <napi.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "bindings/arguments.h"
#include "engine/aligned_buffer.h"
#include "engine/executor.h"
#include "engine/status.h"

namespace dynaquant {

// A call that waits, runs or has run.
class AsyncCall : public Job {
 public:
  void run() noexcept override;

 private:
  friend class AsyncArguments;
  friend class AsyncCalls;
  std::function<Status()> compute_;
  Status status_ = Status::kOk;
  double bytes_ = 0;  // that could not be had; 0 if unknown
  std::uint32_t number_ = 0;
  std::vector<AlignedBuffer<float>> floats_;
  std::vector<AlignedBuffer<std::int64_t>> integers_;
  Napi::FunctionReference settle_;
  std::vector<Napi::Reference<Napi::Value>> kept_;
};

// Reads the arguments of a call, as CallReader does for one that runs at once: arrays first, then
// `settle`, then numbers, in the order of the words that such a call has.
class AsyncArguments {
 public:
  // `arrays` is how many there are.
  AsyncArguments(const Napi::CallbackInfo& info, std::size_t arrays)
      : info_(info), arrays_(arrays), call_(std::make_unique<AsyncCall>()) {}

  std::size_t size(std::size_t word, const char* name) const;

  // A copy of an argument of `size` floats.
  const float* floats(std::size_t i, const char* name, std::size_t size);
  // The same, or null for null.
  const float* optional_floats(std::size_t i, const char* name, std::size_t size);
  const std::int64_t* integers(std::size_t i, const char* name, std::size_t size);

  struct Output {
    const char* name;
    std::size_t size;
  };
  // The outputs `first`, `first + 1`, ...
  template <std::size_t N>
  std::array<float*, N> outputs(std::size_t first, const Output (&wanted)[N]) {
    std::array<float*, N> result;
    for (std::size_t i = 0; i < N; ++i) {
      result[i] = output(first + i, wanted[i].name, wanted[i].size);
    }
    return result;
  }

  // Has `compute` called on another thread, then settle(status, bytes) on this one: see AsyncCall.
  // `compute` must own what it needs, but for the arguments that were read here. Returns a number
  // for cancelCall. `wants_team`: see JobGroup::submit.
  Napi::Value start(std::function<Status()> compute, bool wants_team);

 private:
  float* output(std::size_t i, const char* name, std::size_t size);

  const Napi::CallbackInfo& info_;
  std::size_t arrays_;
  std::unique_ptr<AsyncCall> call_;
};

}  // namespace dynaquant

#endif  // DYNAQUANT_BINDINGS_ASYNC_H_
