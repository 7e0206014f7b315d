// SPDX-License-Identifier: MIT
#include "bindings/environment.h"

namespace dynaquant {

void LiveHandle::leave() {
  if (list_ == nullptr) return;
  (previous_ == nullptr ? list_->first_ : previous_->next_) = next_;
  if (next_ != nullptr) next_->previous_ = previous_;
  previous_ = next_ = nullptr;
  list_ = nullptr;
}

// At the end of an environment this may come before the handles' own destructors.
LiveHandles::~LiveHandles() {
  while (first_ != nullptr) first_->leave();
}

void LiveHandles::add(Napi::Env env, LiveHandle& handle, std::size_t bytes) {
  // Looking at a handle takes some ten nanoseconds, packing so many bytes at least a millisecond.
  constexpr std::size_t kSweepEvery = 8 * 1024 * 1024;
  added_ += bytes;
  if (added_ >= kSweepEvery) sweep(env);
  handle.list_ = this;
  handle.next_ = first_;
  if (first_ != nullptr) first_->previous_ = &handle;
  first_ = &handle;
}

void LiveHandles::sweep(Napi::Env env) {
  added_ = 0;
  for (LiveHandle* handle = first_; handle != nullptr;) {
    LiveHandle* next = handle->next_;
    const Napi::HandleScope scope(env);
    if (handle->is_collected()) handle->release(env);
    handle = next;
  }
}

}  // namespace dynaquant
