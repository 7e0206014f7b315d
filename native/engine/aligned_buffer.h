// SPDX-License-Identifier: MIT
#ifndef DYNAQUANT_ENGINE_ALIGNED_BUFFER_H_
#define DYNAQUANT_ENGINE_ALIGNED_BUFFER_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace dynaquant {

// Memory of so many bytes cannot be had.
class OutOfMemory : public std::bad_alloc {
 public:
  explicit OutOfMemory(double bytes) : bytes_(bytes) {}
  double bytes() const { return bytes_; }  // a double, because the number may be beyond a size_t

 private:
  double bytes_;
};

// Whether sizes may overflow that a call needs of its own. 64 bits hold every small multiple of
// what is in memory already. In WebAssembly there are 32.
constexpr bool kSmallSizes = sizeof(std::size_t) < 8;

// The product of sizes, of which an array of so many elements is wanted. Throws OutOfMemory if it
// overflows.
template <typename... Sizes>
std::size_t count_of(Sizes... sizes) {
  if constexpr (!kSmallSizes) return (std::size_t{1} * ... * sizes);
  std::size_t count = 1;
  for (const std::size_t size : {static_cast<std::size_t>(sizes)...}) {
    if (__builtin_mul_overflow(count, size, &count)) {
      throw OutOfMemory((1.0 * ... * static_cast<double>(sizes)));
    }
  }
  return count;
}

// Owns `size` elements on a 64-byte boundary, not initialised. Throws OutOfMemory.
//
// Large buffers ask for huge pages, because a step that streams 16 MB of weights needs more pages
// of 4 KB than the TLB holds. With pages of 2 MB it takes 0.78 of the time (Zen 4).
template <typename Element>
class AlignedBuffer {
  static_assert(std::is_trivial<Element>::value, "elements are neither constructed nor destroyed");

 public:
  static constexpr std::size_t kAlignment = 64;
  static constexpr std::size_t kHugePage = 2 * 1024 * 1024;
  static constexpr std::size_t kHugeFrom = 2 * kHugePage;

  AlignedBuffer() = default;
  explicit AlignedBuffer(std::size_t size) : size_(size) {
    if (size > std::numeric_limits<std::size_t>::max() / 2 / sizeof(Element))
      throw OutOfMemory(static_cast<double>(size) * sizeof(Element));
    const std::size_t bytes = size * sizeof(Element);
    const std::size_t alignment = bytes < kHugeFrom ? kAlignment : kHugePage;
    // Not by the aligned operator new. glibc takes a larger piece for it than it keeps, which does
    // not fit where the last buffer of the same size was freed. Weights that were packed again
    // and again took 270 KB more each time (glibc 2.36).
    memory_.reset(::operator new(bytes + alignment, std::nothrow));
    if (memory_ == nullptr) throw OutOfMemory(static_cast<double>(bytes));
    const auto address = reinterpret_cast<std::uintptr_t>(memory_.get());
    data_ = reinterpret_cast<Element*>((address + alignment - 1) / alignment * alignment);
#if defined(__linux__)
    if (bytes >= kHugeFrom) madvise(data_, bytes, MADV_HUGEPAGE);  // advice: may be refused
#endif
  }
  AlignedBuffer(AlignedBuffer&& other) noexcept
      : memory_(std::move(other.memory_)),
        data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)) {}
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }

  Element* data() { return data_; }
  const Element* data() const { return data_; }
  std::size_t size() const { return size_; }
  std::size_t bytes() const { return size_ * sizeof(Element); }

 private:
  struct Delete {
    void operator()(void* memory) const { ::operator delete(memory); }
  };
  std::unique_ptr<void, Delete> memory_;
  Element* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_ALIGNED_BUFFER_H_
