// SPDX-License-Identifier: MIT
#include <iterator>
#include <memory>
#include <utility>
#include <vector>

#include "bindings/arguments.h"
#include "bindings/environment.h"
#include "bindings/errors.h"
#include "engine/hash.h"
#include "engine/stream_arena.h"

namespace dynaquant {
namespace {

// new StreamArena(parts)
// parts: for each recurrent module { layers, hidden, cell }, its rows of h and c in floats
std::vector<StreamPart> parts_argument(Napi::Env env, const Napi::Value& value) {
  if (!value.IsArray()) throw_type_error(env, "parts is not an array");
  const Napi::Array list = value.As<Napi::Array>();
  std::vector<StreamPart> parts;
  std::size_t floats = 0;
  for (std::uint32_t i = 0; i < list.Length(); ++i) {
    const Napi::Object source = object_argument(env, list[i], "part");
    const StreamPart part = {dimension_argument(env, source.Get("layers"), "layers"),
                             dimension_argument(env, source.Get("hidden"), "hidden"),
                             size_argument(env, source.Get("cell"), "cell")};
    floats = sum({floats, product({part.layers, sum({part.hidden, part.cell})})});
    parts.push_back(part);
  }
  if (floats == 0 || floats > kLargestDimension) {
    throw_range_error(env, "parts are out of range");
  }
  return parts;
}

class StreamArenaHandle : public Napi::ObjectWrap<StreamArenaHandle>, public LiveHandle {
 public:
  using Self = StreamArenaHandle;

  static void define(Napi::Env env, Napi::Object exports) {
    exports.Set(
        "StreamArena",
        DefineClass(
            env, "StreamArena",
            {InstanceMethod<&Self::open>("open"), InstanceMethod<&Self::reset>("reset"),
             InstanceMethod<&Self::close>("close"), InstanceMethod<&Self::read>("read"),
             InstanceMethod<&Self::write>("write"), InstanceMethod<&Self::begin>("begin"),
             InstanceMethod<&Self::end>("end"), InstanceMethod<&Self::dispose>("dispose")}));
  }

  explicit StreamArenaHandle(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<StreamArenaHandle>(info),
        LiveHandle(kind()),
        arena_(std::make_unique<StreamArena>(parts_argument(info.Env(), info[0]))) {
    addon_data(info.Env()).handles.add(info.Env(), *this, arena_->block_bytes());
  }

  void Finalize(Napi::BasicEnv env) override { release(env); }
  bool is_collected() const override { return Value().IsEmpty(); }
  void release(Napi::BasicEnv env) override {
    arena_.reset();
    tell_bytes(env);
    leave();
  }

 private:
  using Slot = StreamArena::Slot;

  // open(): id, 0 if none is left
  Napi::Value open(const Napi::CallbackInfo& info) {
    StreamArena& opening = arena(info);
    const double id = with_memory(info.Env(), [&] { return opening.open(); });
    tell_bytes(info.Env());
    return Napi::Number::New(info.Env(), id);
  }

  // reset(id): status
  Napi::Value reset(const Napi::CallbackInfo& info) {
    return status_value(info, arena(info).reset(id_argument(info)));
  }

  // close(id): status
  Napi::Value close(const Napi::CallbackInfo& info) {
    const StreamStatus status = arena(info).close(id_argument(info));
    tell_bytes(info.Env());
    return status_value(info, status);
  }

  // read(id, out): status
  Napi::Value read(const Napi::CallbackInfo& info) {
    StreamArena& from = arena(info);
    float* out = typed_array<float>(info.Env(), info[1], "out", from.floats());
    return status_value(info, from.read(id_argument(info), out));
  }

  // write(id, states): status
  Napi::Value write(const Napi::CallbackInfo& info) {
    StreamArena& to = arena(info);
    const float* states = typed_array<float>(info.Env(), info[1], "states", to.floats());
    return status_value(info, to.write(id_argument(info), states));
  }

  // begin(ids, count, slots, states): status. The arrays may be longer than `count` streams need.
  Napi::Value begin(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    StreamArena& from = arena(info);
    const Span<double> ids = typed_array<double>(env, info[0], "ids");
    const std::size_t count = size_argument(env, info[1], "count");
    const Span<Slot> slots = typed_array<Slot>(env, info[2], "slots");
    const Span<float> states = typed_array<float>(env, info[3], "states");
    if (ids.size < count || slots.size < count || states.size < product({count, from.floats()})) {
      throw_range_error(env, "an array is too short");
    }
    return status_value(info, from.begin(ids.data, count, slots.data, states.data));
  }

  // end(slots, count, states): without states the streams keep those that they have
  void end(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    StreamArena& to = arena(info);
    const Span<Slot> slots = typed_array<Slot>(env, info[0], "slots");
    const std::size_t count = size_argument(env, info[1], "count");
    if (count > slots.size || !to.in_step(slots.data, count)) {
      throw_range_error(env, "slots are not of a step");
    }
    const float* states = nullptr;
    if (!info[2].IsUndefined()) {
      const Span<float> given = typed_array<float>(env, info[2], "states");
      if (given.size < product({count, to.floats()})) {
        throw_range_error(env, "states is too short");
      }
      states = given.data;
    }
    to.end(slots.data, count, states);
  }

  // dispose(): frees all streams. Any other call throws afterwards.
  void dispose(const Napi::CallbackInfo& info) {
    check_receiver(info.Env(), kind());
    release(info.Env());
  }

  StreamArena& arena(const Napi::CallbackInfo& info) const {
    check_receiver(info.Env(), kind());
    if (arena_ == nullptr) throw_error(info.Env(), "the streams are disposed");
    return *arena_;
  }
  static const void* kind() {
    static const char address = 0;
    return &address;
  }
  static double id_argument(const Napi::CallbackInfo& info) {
    return info[0].ToNumber().DoubleValue();
  }
  static Napi::Value status_value(const Napi::CallbackInfo& info, StreamStatus status) {
    return Napi::Number::New(info.Env(), static_cast<int>(status));
  }

  // Tells V8 how much memory came or went since the last time.
  void tell_bytes(Napi::BasicEnv env) {
    const std::int64_t bytes = arena_ == nullptr ? 0 : static_cast<std::int64_t>(arena_->bytes());
    if (bytes != told_) Napi::MemoryManagement::AdjustExternalMemory(env, bytes - told_);
    told_ = bytes;
  }

  std::unique_ptr<StreamArena> arena_;
  std::int64_t told_ = 0;
};

// The names of StreamStatus, by its numbers.
Napi::Array status_names(Napi::Env env) {
  constexpr const char* kNames[] = {"ok", "noStream", "inStep", "twice"};
  static_assert(std::size(kNames) == static_cast<std::size_t>(StreamStatus::kTwice) + 1,
                "one each");
  Napi::Array names = Napi::Array::New(env);
  for (std::size_t i = 0; i < std::size(kNames); ++i) {
    names[static_cast<std::uint32_t>(i)] = Napi::String::New(env, kNames[i]);
  }
  return names;
}

// hashBytes(bytes, seed): hash, both bigints of 64 bits
Napi::Value hash_bytes(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Span<std::uint8_t> bytes = typed_array<std::uint8_t>(env, info[0], "bytes");
  bool lossless;
  const std::uint64_t seed = info[1].As<Napi::BigInt>().Uint64Value(&lossless);
  return Napi::BigInt::New(env, dynaquant::hash_bytes(bytes.data, bytes.size, seed));
}

}  // namespace

void init_streams(Napi::Env env, Napi::Object exports) {
  StreamArenaHandle::define(env, exports);
  exports.Set("streamStatusNames", status_names(env));
  exports.Set("hashBytes", Napi::Function::New<hash_bytes>(env));
}

}  // namespace dynaquant
