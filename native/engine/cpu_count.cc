// SPDX-License-Identifier: MIT
// Node 20's availableParallelism knows the affinity mask but not the quota, and later Nodes round
// the quota down. A container with a quota of one CPU on a machine of 64 would get 64 threads, and
// the system would stop it for most of each period.
#include "engine/cpu_count.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#if defined(__linux__)
#include <sched.h>
#elif defined(_WIN32)
#include <windows.h>
#endif

namespace dynaquant {
namespace {

// The beginning of a file, empty if it cannot be read. These files are short.
std::string read_file(const std::string& path) {
  std::string text;
  if (std::FILE* file = std::fopen(path.c_str(), "re")) {
    char bytes[16384];
    text.assign(bytes, std::fread(bytes, 1, sizeof(bytes), file));
    std::fclose(file);
  }
  return text;
}

// ceil(quota / period); 0 if they are not two positive numbers (what "max" or "-1" are read as).
std::size_t whole_cpus(double quota, double period) {
  const double cpus = quota / period;
  if (!(cpus > 0 && cpus < 1e6)) return 0;  // a quota of a million CPUs is none; nor are NaNs
  const auto floor = static_cast<std::size_t>(cpus);
  return floor < cpus ? floor + 1 : floor;
}

// The quota of one cgroup: version 2 has it in one file, version 1 in two.
std::size_t quota_of(const std::string& folder) {
  const std::string both = read_file(folder + "/cpu.max");
  if (!both.empty()) {
    char* period;
    const double quota = std::strtod(both.c_str(), &period);
    return whole_cpus(quota, std::strtod(period, nullptr));
  }
  const auto number = [&](const char* name) {
    return std::strtod(read_file(folder + name).c_str(), nullptr);
  };
  return whole_cpus(number("/cpu.cfs_quota_us"), number("/cpu.cfs_period_us"));
}

std::size_t smaller_quota(std::size_t a, std::size_t b) {
  return a == 0 || b == 0 ? std::max(a, b) : std::min(a, b);
}

// The smallest quota of a cgroup and of those above it. In a container the path may be the host's,
// which does not exist below this mount. The mount itself is the container's cgroup then.
std::size_t smallest_quota(const std::string& mount, std::string path) {
  // A path outside of the namespace's root cannot be reached.
  if (path.find("/..") != std::string::npos) path.clear();
  std::size_t smallest = quota_of(mount);
  while (path.size() > 1) {
    smallest = smaller_quota(smallest, quota_of(mount + path));
    path.resize(path.rfind('/'));
  }
  return smallest;
}

std::size_t affinity() {
#if defined(__linux__)
  cpu_set_t mask;
  if (sched_getaffinity(0, sizeof(mask), &mask) == 0) {
    return static_cast<std::size_t>(CPU_COUNT(&mask));
  }
#elif defined(_WIN32)
  DWORD_PTR mask, all;
  if (GetProcessAffinityMask(GetCurrentProcess(), &mask, &all)) {
    std::size_t count = 0;
    for (; mask != 0; mask &= mask - 1) ++count;
    return count;
  }
#endif
  return std::thread::hardware_concurrency();
}

}  // namespace

// Assumes the usual mount points. /proc/self/mountinfo would tell others, but nothing that runs
// Node mounts them elsewhere.
std::size_t cgroup_cpu_quota(const std::string& root) {
  const std::string mounts = root + "/sys/fs/cgroup";
  std::size_t smallest = 0;
  // One line for each hierarchy, "number:controllers:path". Version 2's has no controllers.
  const std::string lines = read_file(root + "/proc/self/cgroup");
  for (std::size_t begin = 0, end; begin < lines.size(); begin = end + 1) {
    end = std::min(lines.find('\n', begin), lines.size());
    const std::string line = lines.substr(begin, end - begin);
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    if (path.empty() || path[0] != '/') continue;
    if (controllers.empty()) {
      smallest = smaller_quota(smallest, smallest_quota(mounts, path));
      smallest = smaller_quota(smallest, smallest_quota(mounts + "/unified", path));
    } else if (("," + controllers + ",").find(",cpu,") != std::string::npos) {
      smallest = smaller_quota(smallest, smallest_quota(mounts + "/" + controllers, path));
      if (controllers != "cpu") {
        smallest = smaller_quota(smallest, smallest_quota(mounts + "/cpu", path));
      }
    }
  }
  return smallest;
}

std::size_t cpu_count() {
  std::size_t count = affinity();
#if defined(__linux__)
  count = smaller_quota(count, cgroup_cpu_quota(""));
#endif
  return std::max<std::size_t>(count, 1);
}

}  // namespace dynaquant
