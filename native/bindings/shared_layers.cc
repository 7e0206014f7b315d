// SPDX-License-Identifier: MIT
#include "bindings/shared_layers.h"

#include <iterator>
#include <map>
#include <mutex>
#include <utility>

// std::shared_ptr asks glibc by this name whether the process has one thread, and then counts
// without atomic operations. The name exists from glibc 2.32 on. Red Hat 8 has 2.28, so it is
// answered here, inside the addon: no.
extern "C" __attribute__((visibility("hidden"))) char __libc_single_threaded;
char __libc_single_threaded = 0;

namespace dynaquant {
namespace {

#ifdef __wasm__
struct Mutex {  // of a module with one thread
  void lock() {}
  void unlock() {}
};
#else
using Mutex = std::mutex;
#endif

struct SharedLayer {
  std::weak_ptr<const void> layer;
  const void* kind;
};

// Never deleted, because a destructor would run at the end of the process, when threads may still
// use it.
std::map<std::uint64_t, SharedLayer>* layers = nullptr;
std::uint64_t last_number = 0;
std::size_t most = 64;  // entries until those of freed layers are looked for
Mutex mutex;            // of all this

void forget_freed() {
  for (auto it = layers->begin(); it != layers->end();) {
    it = it->second.layer.expired() ? layers->erase(it) : std::next(it);
  }
  most = 2 * layers->size() + 64;
}

}  // namespace

std::uint64_t share_layer(std::shared_ptr<const void> layer, const void* kind) {
  const std::lock_guard<Mutex> lock(mutex);
  if (layers == nullptr) layers = new std::map<std::uint64_t, SharedLayer>;
  if (layers->size() >= most) forget_freed();
  layers->insert({++last_number, {std::move(layer), kind}});
  return last_number;
}

std::shared_ptr<const void> shared_layer(std::uint64_t number, const void* kind) {
  const std::lock_guard<Mutex> lock(mutex);
  if (layers == nullptr) return nullptr;
  const auto found = layers->find(number);
  if (found == layers->end() || found->second.kind != kind) return nullptr;
  return found->second.layer.lock();
}

}  // namespace dynaquant
