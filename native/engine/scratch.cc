// SPDX-License-Identifier: MIT
#include "engine/scratch.h"

namespace dynaquant {

KeptMemory::Lease KeptMemory::take(std::size_t bytes) {
  thread_local KeptMemory kept;
  constexpr std::size_t kMost = 16 * 1024 * 1024;
  if (kept.taken_ || bytes > kMost) return Lease(nullptr);
  if (kept.memory_.size() < bytes) kept.memory_ = AlignedBuffer<char>(bytes);
  kept.taken_ = true;
  return Lease(&kept);
}

}  // namespace dynaquant
