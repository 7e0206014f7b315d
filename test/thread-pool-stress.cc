// SPDX-License-Identifier: MIT
// What test/thread-pool.test.ts does with the pool, natively, for ThreadSanitizer: several threads
// call at once, with teams of changing size, while users of the pool come and go.
// scripts/sanitize.mjs builds and runs it.
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "engine/cpu_count.h"
#include "engine/thread_pool.h"

namespace {

using dynaquant::Team;
using dynaquant::ThreadPoolUser;

constexpr std::uint64_t kLong = 1000 * 1000 * 1000;  // ns: worth waking everybody
std::atomic<std::size_t> shared_teams{0};            // how many had more than their caller

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "%s\n", what);
  std::exit(1);
}

// One call: `rounds` phases that cover [0, count), checked after each. Nothing here is atomic, so
// that a second writer of an index, or a write that run() did not wait for, is a race that the
// sanitizer reports.
void one_call(std::size_t threads, std::uint64_t work_ns, std::size_t count, std::size_t grain,
              std::size_t rounds) {
  std::vector<std::size_t> covered(count);
  Team team(threads, work_ns);
  if (team.size() > 1) ++shared_teams;
  std::vector<std::size_t> done(team.size());
  for (std::size_t round = 1; round <= rounds; ++round) {
    team.run(count, grain,
             [&](std::size_t participant, std::size_t begin, std::size_t end) noexcept {
               for (std::size_t i = begin; i < end; ++i) ++covered[i];
               done[participant] += end - begin;
             });
    std::size_t sum = 0;
    for (const std::size_t part : done) sum += part;
    if (sum != round * count) fail("the participants' shares are not the whole");
    for (const std::size_t times : covered) {
      if (times != round) fail("an index was not covered exactly once");
    }
  }
}

// An environment: it uses the pool, calls, and goes; where it is the last one, the pool's threads
// end with it.
void environment(std::size_t seed, std::size_t calls) {
  const ThreadPoolUser user;
  for (std::size_t i = 0; i < calls; ++i) {
    const std::size_t n = seed + i;
    if (n % 50 == 0) dynaquant::set_num_threads(1 + n % 5);
    if (dynaquant::num_threads() == 0) fail("no thread at all");
    one_call(1 + n % 6, n % 7 == 0 ? 0 : kLong, n * 13 % 200, n % 4, 1 + n % 9);
  }
}

void at_once(std::size_t environments, std::size_t calls) {
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < environments; ++i) {
    threads.emplace_back(environment, i * 1000, calls);
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace

int main() {
  if (dynaquant::cpu_count() == 0) fail("no CPU at all");
  // The first team creates the threads, its phases are many: late members meet words of later
  // phases.
  {
    const ThreadPoolUser user;
    for (int i = 0; i < 20; ++i) one_call(3, kLong, 9, 1, 500);
  }
  // The last user's end ends the threads; the next ones start new ones.
  for (int i = 0; i < 50; ++i) at_once(1, 20);
  for (int i = 0; i < 10; ++i) at_once(4, 200);
  if (shared_teams == 0) fail("no team ever had a second thread");
  std::printf("%zu calls were shared\n", shared_teams.load());
}
