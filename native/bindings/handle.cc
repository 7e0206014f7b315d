// SPDX-License-Identifier: MIT
#include "bindings/handle.h"

#include "bindings/arguments.h"
#include "bindings/errors.h"

namespace dynaquant {

void Handle::define(Napi::Env env, Napi::Object exports, const char* name, const HandleKind& kind,
                    Methods methods) {
  void* const data = const_cast<HandleKind*>(&kind);
  methods.push_back(InstanceMethod<&Handle::share>("share", napi_default, data));
  methods.push_back(InstanceMethod<&Handle::dispose>("dispose", napi_default, data));
  exports.Set(name, DefineClass(env, name, methods, data));
}

Handle::Handle(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<Handle>(info), LiveHandle(info.Data()) {
  const Napi::Env env = info.Env();
  const HandleKind& kind = defined_kind(info);
  if (info[0].IsNumber()) {
    number_ = size_argument(env, info[0], "number");
    layer_ = shared_layer(number_, &kind);
    if (layer_ == nullptr) throw_range_error(env, "there is no such shared layer");
  } else {
    layer_ = with_memory(env, [&] { return kind.make(info); });
    counted_ = kind.bytes(layer_.get());
    Napi::MemoryManagement::AdjustExternalMemory(env, static_cast<std::int64_t>(counted_));
  }
  addon_data(env).handles.add(env, *this, counted_);
  Value().Set("rowNanoseconds", kind.row_ns(layer_.get()));
}

void Handle::release(Napi::BasicEnv env) {
  layer_.reset();
  if (counted_ != 0) {
    Napi::MemoryManagement::AdjustExternalMemory(env, -static_cast<std::int64_t>(counted_));
  }
  counted_ = 0;
  leave();
}

Napi::Value Handle::share(const Napi::CallbackInfo& info) {
  const HandleKind& kind = defined_kind(info);
  const std::shared_ptr<const void>& shared = checked(kind);
  if (number_ == 0) {
    number_ = with_memory(info.Env(), [&] { return share_layer(shared, &kind); });
  }
  return Napi::Number::New(info.Env(), static_cast<double>(number_));
}

void Handle::dispose(const Napi::CallbackInfo& info) {
  check_receiver(info.Env(), &defined_kind(info));
  release(info.Env());
}

const HandleKind& Handle::defined_kind(const Napi::CallbackInfo& info) {
  return *static_cast<const HandleKind*>(info.Data());
}

const std::shared_ptr<const void>& Handle::checked(const HandleKind& kind) const {
  check_receiver(Env(), &kind);
  if (layer_ == nullptr) throw_error(Env(), "the handle is disposed");
  return layer_;
}

}  // namespace dynaquant
