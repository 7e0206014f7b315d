// SPDX-License-Identifier: MIT
#ifndef DYNAQUANT_ENGINE_SCRATCH_H_
#define DYNAQUANT_ENGINE_SCRATCH_H_

#include <cstddef>

#include "engine/aligned_buffer.h"

namespace dynaquant {

// Hands out a call's working memory, 64-byte aligned and not initialised. Without memory it only
// counts, so that one constructor both measures what a call needs and takes it.
class Scratch {
 public:
  explicit Scratch(char* memory = nullptr) : memory_(memory) {}

  template <typename Element>
  Element* take(std::size_t count) {
    Element* taken = memory_ == nullptr ? nullptr : reinterpret_cast<Element*>(memory_ + used_);
    const std::size_t before = used_, bytes = count_of(count, sizeof(Element));
    used_ += (bytes + 63) / 64 * 64;
    if (kSmallSizes && (used_ < before || used_ - before < bytes)) {
      throw OutOfMemory(static_cast<double>(before) + static_cast<double>(bytes));
    }
    return taken;
  }
  std::size_t used() const { return used_; }

 private:
  char* memory_;
  std::size_t used_ = 0;
};

// Memory that a thread keeps between its calls, for one call at a time. Freeing 64 KB or more is
// slow with glibc, and the memory may come back as new pages, which cost more than what is done
// with them: a quarter of a microsecond each. 16 MB are enough for a layer of BERT base on 512
// tokens.
class KeptMemory {
 public:
  // Holds the memory while it lives, if it got any.
  class Lease {
   public:
    explicit Lease(KeptMemory* from) : from_(from) {}
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    ~Lease() {
      if (from_ != nullptr) from_->taken_ = false;
    }
    // Null if it got none.
    char* memory() { return from_ == nullptr ? nullptr : from_->memory_.data(); }

   private:
    KeptMemory* from_;
  };

  // A lease of `bytes` of this thread's, or of nothing if they are taken or too many to be kept.
  static Lease take(std::size_t bytes);

 private:
  AlignedBuffer<char> memory_;
  bool taken_ = false;
};

// A `Contents`, constructed from a Scratch and the arguments, and the bytes that it takes. Few
// bytes are on the stack, more in what the thread keeps or, if that is taken or too small, in a
// buffer of their own.
template <typename Contents>
class WithScratch {
 public:
  template <typename... Arguments>
  explicit WithScratch(const Arguments&... arguments)
      : bytes_(measured(arguments...)),
        kept_(bytes_ <= kSmall ? KeptMemory::Lease(nullptr) : KeptMemory::take(bytes_)),
        scratch_(memory()),
        contents_(scratch_, arguments...) {}
  WithScratch(const WithScratch&) = delete;
  WithScratch& operator=(const WithScratch&) = delete;

  Contents* operator->() { return &contents_; }
  Contents& operator*() { return contents_; }

 private:
  template <typename... Arguments>
  static std::size_t measured(const Arguments&... arguments) {
    Scratch counter;
    Contents(counter, arguments...);
    return counter.used();
  }

  char* memory() {
    if (bytes_ <= kSmall) return small_;
    if (kept_.memory() != nullptr) return kept_.memory();
    own_ = AlignedBuffer<char>(bytes_);
    return own_.data();
  }

  static constexpr std::size_t kSmall = 16 * 1024;

  alignas(64) char small_[kSmall];
  std::size_t bytes_;
  KeptMemory::Lease kept_;
  AlignedBuffer<char> own_;
  Scratch scratch_;
  Contents contents_;
};

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_SCRATCH_H_
