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

#include "bindings/environment.h"
#include "bindings/shared_layers.h"

namespace dynaquant {

// A kind of handles: what JavaScript sees as one class of them.
struct HandleKind {
  // Builds the layer from the constructor's arguments.
  std::shared_ptr<const void> (*make)(const Napi::CallbackInfo& info);
  std::size_t (*bytes)(const void* layer);
  // Roughly what a row takes on one thread.
  double (*row_ns)(const void* layer);
};
// One whose layers are of this type.
template <typename Layer>
struct LayerKind : HandleKind {};

// `make` gives a unique_ptr, because make_shared would need a newer C++ library than Red Hat 8 has.
template <typename Layer, std::unique_ptr<Layer> (*make)(const Napi::CallbackInfo&)>
constexpr LayerKind<Layer> kind_of() {
  return {{[](const Napi::CallbackInfo& info) -> std::shared_ptr<const void> { return make(info); },
           [](const void* layer) { return static_cast<const Layer*>(layer)->bytes(); },
           [](const void* layer) { return static_cast<const Layer*>(layer)->row_ns(); }}};
}

// What every kind has besides its own methods:
//   new Handle(number)      takes up the layer that another handle shares under this number
//   handle.share()          the number
//   handle.dispose()        lets go of the layer; any other call throws afterwards
//   handle.rowNanoseconds
// One class of C++ for all kinds, because one for each would take 9 kB each.
class Handle : public Napi::ObjectWrap<Handle>, public LiveHandle {
 public:
  using Methods = std::vector<Napi::ClassPropertyDescriptor<Handle>>;
  using Function = Napi::Value (*)(const Napi::CallbackInfo& info, const Handle& handle);

  // Adds a kind to the addon's exports.
  static void define(Napi::Env env, Napi::Object exports, const char* name, const HandleKind& kind,
                     Methods methods);
  // A method of a kind, which begins with layer(). Functions of two files must not have one name,
  // even in unnamed namespaces (findings/gcc-merges-methods-of-unnamed-namespaces.sh).
  template <Function function>
  static Napi::ClassPropertyDescriptor<Handle> method(const char* name) {
    return InstanceMethod<&Handle::call<function>>(name);
  }

  explicit Handle(const Napi::CallbackInfo& info);

  // The layer. Throws after dispose().
  template <typename Layer>
  const Layer& layer(const LayerKind<Layer>& kind) const {
    return *static_cast<const Layer*>(checked(kind).get());
  }
  template <typename Layer>
  std::shared_ptr<const Layer> held_layer(const LayerKind<Layer>& kind) const {
    return std::static_pointer_cast<const Layer>(checked(kind));
  }
  // The layer that a handle of this kind shares under this number, or null.
  template <typename Layer>
  static std::shared_ptr<const Layer> shared(std::uint64_t number, const LayerKind<Layer>& kind) {
    return std::static_pointer_cast<const Layer>(shared_layer(number, &kind));
  }

  void Finalize(Napi::BasicEnv env) override { release(env); }
  bool is_collected() const override { return Value().IsEmpty(); }
  void release(Napi::BasicEnv env) override;

 private:
  template <Function function>
  Napi::Value call(const Napi::CallbackInfo& info) {
    return function(info, *this);
  }
  Napi::Value share(const Napi::CallbackInfo& info);
  void dispose(const Napi::CallbackInfo& info);
  // The kind that the called constructor or method was defined for.
  static const HandleKind& defined_kind(const Napi::CallbackInfo& info);
  const std::shared_ptr<const void>& checked(const HandleKind& kind) const;

  std::shared_ptr<const void> layer_;
  std::size_t counted_ = 0;   // bytes that V8 was told of
  std::uint64_t number_ = 0;  // under which it is shared; 0 until it is
};

}  // namespace dynaquant

#endif  // DYNAQUANT_BINDINGS_HANDLE_H_
