// SPDX-License-Identifier: MIT
// Recognises data and finds damage in them. Not against forgery.
#ifndef DYNAQUANT_ENGINE_HASH_H_
#define DYNAQUANT_ENGINE_HASH_H_

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace dynaquant {

// Each step is a bijection of the hash for a given word, and of the word for a given hash. So data
// of one length that differ in one word of 8 bytes never have the same hash, and others have it
// with a chance of about 2^-64. The bytes are taken as little-endian words.
inline std::uint64_t hash_bytes(const std::uint8_t* data, std::size_t size, std::uint64_t seed) {
  constexpr std::uint64_t kOdd = 0x9e3779b97f4a7c15;
  const auto mix = [](std::uint64_t hash, std::uint64_t word) {
    hash = (hash ^ word) * kOdd;
    return hash ^ hash >> 32;
  };
  std::uint64_t hash = mix(seed, size);
  std::size_t i = 0;
  for (; size - i >= 8; i += 8) {
    std::uint64_t word;
    std::memcpy(&word, data + i, 8);
    hash = mix(hash, word);
  }
  std::uint64_t last = 0;
  if (i < size) std::memcpy(&last, data + i, size - i);
  return mix(mix(hash, last), 0);
}

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_HASH_H_
