// SPDX-License-Identifier: MIT
// A native layer as JavaScript holds it. The layer is immutable and may have several holders: the
// handles of several environments, copies of a module, calls that run. The last one frees it.
#ifndef DYNAQUANT_BINDINGS_HANDLE_H_
#define DYNAQUANT_BINDINGS_HANDLE_H_

#include <napi.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "bindings/arguments.h"
#include "bindings/environment.h"
#include "bindings/errors.h"
#include "bindings/shared_layers.h"

namespace dynaquant {

// What every handle class has besides its own methods:
//   new Handle(number)   takes up the layer that another handle shares under this number
//   handle.share()       the number
//   handle.dispose()     lets go of the layer; any other call throws afterwards
template <typename Derived, typename Layer>
class Handle : public Napi::ObjectWrap<Derived>, public LiveHandle {
 public:
  using Methods = std::vector<Napi::ClassPropertyDescriptor<Derived>>;

  // Adds the class to the addon's exports.
  static void define(Napi::Env env, Napi::Object exports, const char* name, Methods methods) {
    using Wrap = Napi::ObjectWrap<Derived>;
    const typename Wrap::InstanceMethodCallback share = &Derived::share;
    const typename Wrap::InstanceVoidMethodCallback dispose = &Derived::dispose;
    methods.push_back(Wrap::InstanceMethod("share", share));
    methods.push_back(Wrap::InstanceMethod("dispose", dispose));
    exports.Set(name, Derived::DefineClass(env, name, methods));
  }

  void Finalize(Napi::BasicEnv env) override { release(env); }

  Napi::Value share(const Napi::CallbackInfo& info) {
    const std::shared_ptr<const Layer>& shared = layer();
    if (number_ == 0) {
      number_ = with_memory(info.Env(), [&] { return share_layer(shared, kind()); });
    }
    return Napi::Number::New(info.Env(), static_cast<double>(number_));
  }
  void dispose(const Napi::CallbackInfo& info) {
    this->check_receiver(info.Env(), kind());
    release(info.Env());
  }

  // The layer that a handle of this class shares under this number, or null.
  static std::shared_ptr<const Layer> shared(std::uint64_t number) {
    return std::static_pointer_cast<const Layer>(shared_layer(number, kind()));
  }

  bool is_collected() const override { return this->Value().IsEmpty(); }
  void release(Napi::BasicEnv env) override {
    layer_.reset();
    if (counted_ != 0) {
      Napi::MemoryManagement::AdjustExternalMemory(env, -static_cast<std::int64_t>(counted_));
    }
    counted_ = 0;
    leave();
  }

 protected:
  // `make` builds the layer from the arguments, unless they are the number of a shared one. It
  // gives a unique_ptr, because make_shared would need a newer C++ library than Red Hat 8 has.
  template <typename Make>
  Handle(const Napi::CallbackInfo& info, const Make& make)
      : Napi::ObjectWrap<Derived>(info), LiveHandle(kind()) {
    const Napi::Env env = info.Env();
    LiveHandles& handles = addon_data(env).handles;
    if (info[0].IsNumber()) {
      number_ = size_argument(env, info[0], "number");
      layer_ = shared(number_);
      if (layer_ == nullptr) throw_range_error(env, "there is no such shared layer");
    } else {
      layer_ = with_memory(env, [&] { return make(info); });
      counted_ = layer_->bytes();
      Napi::MemoryManagement::AdjustExternalMemory(env, static_cast<std::int64_t>(counted_));
    }
    handles.add(env, *this, counted_);
  }

  // The layer. Throws after dispose().
  const std::shared_ptr<const Layer>& layer() const {
    this->check_receiver(this->Env(), kind());
    if (layer_ == nullptr) throw_error(this->Env(), "the handle is disposed");
    return layer_;
  }

 private:
  // Tells the kinds of layers apart.
  static const void* kind() {
    static const char address = 0;
    return &address;
  }

  std::shared_ptr<const Layer> layer_;
  std::size_t counted_ = 0;   // bytes that V8 was told of
  std::uint64_t number_ = 0;  // under which it is shared; 0 until it is
};

}  // namespace dynaquant

#endif  // DYNAQUANT_BINDINGS_HANDLE_H_
