// SPDX-License-Identifier: MIT
// What test/forward-async.test.ts does with the executor, natively, for ThreadSanitizer: several
// environments submit jobs at once, which use teams, take some back, and end while others run.
// scripts/sanitize.mjs builds and runs it.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

#include "engine/executor.h"
#include "engine/thread_pool.h"

namespace {

using namespace dynaquant;

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "%s\n", what);
  std::exit(1);
}

std::atomic<std::size_t> alive{0};  // jobs that are not destroyed
std::atomic<std::size_t> stopped{0};

// Computes with a team, as a call does. Nothing that it writes is atomic, so that a result that is
// read too early is a race that the sanitizer reports.
class TestJob : public Job {
 public:
  explicit TestJob(std::size_t rounds) : rounds_(rounds) { ++alive; }
  ~TestJob() override { --alive; }
  void run() noexcept override {
    if (has_run) fail("a job ran twice");
    has_run = true;
    Team team(3, 1000 * 1000 * 1000);
    for (std::size_t round = 0; round < rounds_; ++round) {
      if (team.stopped()) {
        ++stopped;
        return;
      }
      team.run(20, 1, [this](std::size_t, std::size_t begin, std::size_t end) noexcept {
        for (std::size_t i = begin; i < end; ++i) ++sums[i];
      });
    }
  }

  bool has_run = false;
  std::size_t sums[20] = {};

 private:
  const std::size_t rounds_;
};

// Settles what has finished: how many that were.
std::size_t settle(JobGroup& group) {
  std::size_t count = 0;
  while (const std::unique_ptr<Job> job = group.take_finished()) {
    if (!static_cast<const TestJob&>(*job).has_run) fail("a job that did not run has finished");
    ++count;
  }
  return count;
}

// An environment that waits for all its jobs, or ends while they run.
void environment(std::size_t jobs, bool waits) {
  const ThreadPoolUser pool_user;
  const ExecutorUser user;
  std::atomic<std::size_t> notified{0};
  JobGroup group([](void* count) { ++*static_cast<std::atomic<std::size_t>*>(count); }, &notified);
  std::size_t pending = 0;
  for (std::size_t i = 0; i < jobs; ++i) {
    auto job = std::make_unique<TestJob>(waits ? 1 + i % 30 : 1000000);
    TestJob* raw = job.get();
    group.submit(std::move(job), i % 3 == 0);
    ++pending;
    if (i % 5 == 0 && group.withdraw(raw) != nullptr) --pending;
    if (i % 7 == 0) pending -= settle(group);
    if (i % 20 == 0) set_num_threads(1 + i / 20 % 4);
  }
  while (waits && pending > 0) {
    pending -= settle(group);
    std::this_thread::yield();
  }
  if (waits && notified == 0) fail("nobody was told of finished jobs");
}

void at_once(std::size_t environments, std::size_t jobs) {
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < environments; ++i)
    threads.emplace_back(environment, jobs, i % 2 == 0);
  for (std::thread& thread : threads) thread.join();
}

}  // namespace

int main() {
  // The last user's end ends the threads; the next ones start new ones.
  for (int i = 0; i < 30; ++i) at_once(1, 20);
  for (int i = 0; i < 20; ++i) at_once(4, 300);
  if (alive != 0) fail("a job was not destroyed");
  if (stopped == 0) fail("no job was stopped");
  std::printf("%zu jobs were stopped\n", stopped.load());
}
