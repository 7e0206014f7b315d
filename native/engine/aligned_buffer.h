// SPDX-License-Identifier: MIT
#ifndef DYNAQUANT_ENGINE_ALIGNED_BUFFER_H_
#define DYNAQUANT_ENGINE_ALIGNED_BUFFER_H_

#include <cstddef>
#include <limits>
#include <new>
#include <type_traits>
#include <utility>

namespace dynaquant {

// Owns `size` elements on a 64-byte boundary, not initialised. Throws std::bad_alloc.
template <typename Element>
class AlignedBuffer {
  static_assert(std::is_trivial<Element>::value, "elements are neither constructed nor destroyed");

 public:
  static constexpr std::size_t kAlignment = 64;

  AlignedBuffer() = default;
  explicit AlignedBuffer(std::size_t size) : size_(size) {
    if (size > std::numeric_limits<std::size_t>::max() / 2 / sizeof(Element))
      throw std::bad_alloc();
    // One byte at least: the result is never null.
    const std::size_t bytes = size == 0 ? 1 : size * sizeof(Element);
    data_ = static_cast<Element*>(::operator new(bytes, std::align_val_t(kAlignment)));
  }
  AlignedBuffer(AlignedBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~AlignedBuffer() { ::operator delete(data_, std::align_val_t(kAlignment)); }

  Element* data() { return data_; }
  const Element* data() const { return data_; }
  std::size_t size() const { return size_; }
  std::size_t bytes() const { return size_ * sizeof(Element); }

 private:
  Element* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_ALIGNED_BUFFER_H_
