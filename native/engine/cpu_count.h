// SPDX-License-Identifier: MIT
#ifndef DYNAQUANT_ENGINE_CPU_COUNT_H_
#define DYNAQUANT_ENGINE_CPU_COUNT_H_

#include <cstddef>
#include <string>

namespace dynaquant {

// How many CPUs this process may use, at least one: those of its affinity mask, or fewer if its
// cgroup's quota says so. Reads files on Linux, so ask once. Throws std::bad_alloc.
std::size_t cpu_count();

// The quota alone, rounded up to whole CPUs; 0 if there is none. /proc and /sys are looked for
// below `root`, for the tests.
std::size_t cgroup_cpu_quota(const std::string& root);

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_CPU_COUNT_H_
