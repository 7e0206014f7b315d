// SPDX-License-Identifier: MIT
// How long something took, for benchmarks.
#ifndef DYNAQUANT_ENGINE_CLOCK_H_
#define DYNAQUANT_ENGINE_CLOCK_H_

#include <chrono>

namespace dynaquant {

// Adds its lifetime to a number of nanoseconds. Where that is null, nobody asked.
class Clock {
 public:
  explicit Clock(double* ns) : ns_(ns) {
    if (ns_ != nullptr) start_ = Steady::now();
  }
  Clock(const Clock&) = delete;
  Clock& operator=(const Clock&) = delete;
  ~Clock() {
    if (ns_ != nullptr)
      *ns_ += std::chrono::duration<double, std::nano>(Steady::now() - start_).count();
  }

 private:
  using Steady = std::chrono::steady_clock;
  double* ns_;
  Steady::time_point start_ = {};
};

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_CLOCK_H_
