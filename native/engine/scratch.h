// SPDX-License-Identifier: MIT
#ifndef DYNAQUANT_ENGINE_SCRATCH_H_
#define DYNAQUANT_ENGINE_SCRATCH_H_

#include <cstddef>

#include "engine/aligned_buffer.h"

namespace dynaquant {

// Hands out a call's working memory, 64-byte aligned and not initialised. Without memory it only
// counts, so a layout is written once: run to measure, then run to take.
class Scratch {
 public:
  explicit Scratch(char* memory = nullptr) : memory_(memory) {}

  template <typename Element>
  Element* take(std::size_t count) {
    Element* taken = memory_ == nullptr ? nullptr : reinterpret_cast<Element*>(memory_ + used_);
    used_ += (count * sizeof(Element) + 63) / 64 * 64;
    return taken;
  }
  std::size_t used() const { return used_; }

 private:
  char* memory_;
  std::size_t used_ = 0;
};

// A `Layout` (constructed from a Scratch and the arguments) with its memory: on the stack when it
// is small, so that a small model's call allocates nothing.
template <typename Layout>
class WithScratch {
 public:
  template <typename... Arguments>
  explicit WithScratch(const Arguments&... arguments)
      : memory_(measured(arguments...)),
        scratch_(memory_.data() == nullptr ? small_ : memory_.data()),
        layout_(scratch_, arguments...) {}
  WithScratch(const WithScratch&) = delete;
  WithScratch& operator=(const WithScratch&) = delete;

  Layout* operator->() { return &layout_; }
  Layout& operator*() { return layout_; }

 private:
  static constexpr std::size_t kSmall = 16 * 1024;

  template <typename... Arguments>
  static AlignedBuffer<char> measured(const Arguments&... arguments) {
    Scratch counter;
    Layout(counter, arguments...);
    return counter.used() <= kSmall ? AlignedBuffer<char>() : AlignedBuffer<char>(counter.used());
  }

  alignas(64) char small_[kSmall];
  AlignedBuffer<char> memory_;
  Scratch scratch_;
  Layout layout_;
};

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_SCRATCH_H_
