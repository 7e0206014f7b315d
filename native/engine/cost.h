// SPDX-License-Identifier: MIT
// Rough times, from which a call decides how many threads it asks for and how it shares its work.
#ifndef DYNAQUANT_ENGINE_COST_H_
#define DYNAQUANT_ENGINE_COST_H_

#include <algorithm>
#include <cstddef>

#include "engine/matrix.h"
#include "engine/thread_pool.h"

namespace dynaquant {

// A phase that takes less than this on one thread is not shared. A second thread would save little
// more than the time in which the two meet again, and nothing if one of them is late.
constexpr double kWorthSharingNs = 1000;

// Nanoseconds of a product on one thread. The estimate is low: 200 multiply-adds of int8, or 50 of
// float, in a nanosecond.
inline double product_ns(const Int8Matrix& matrix, std::size_t rows) {
  return static_cast<double>(rows) * matrix.multiply_adds() / 200;
}
template <typename Weight, typename Panels>
double product_ns(const PlainMatrix<Weight, Panels>& matrix, std::size_t rows) {
  return static_cast<double>(rows) * matrix.multiply_adds() / 50;
}

// Smallest number of parts a thread may claim: `least`, or all `count` if the phase is too short to
// share.
inline std::size_t grain_for(double ns, std::size_t count, std::size_t least = 1) {
  return ns < kWorthSharingNs ? std::max(count, least) : least;
}

// How many threads a call asks for, from the time of its longest phase on one thread.
inline std::size_t threads_for(double ns) { return ns < kWorthSharingNs ? 1 : num_threads(); }

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_COST_H_
