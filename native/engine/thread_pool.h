// SPDX-License-Identifier: MIT
// The threads of the process, and how one call uses them.
//
// There is one pool, for one call at a time: a call that finds it taken runs on its own thread, so
// that concurrent requests never ask for more threads than one of them does. Jobs (executor.h) run
// beside each other and beside their callers; each of them leaves one thread fewer to everybody
// else's team.
#ifndef DYNAQUANT_ENGINE_THREAD_POOL_H_
#define DYNAQUANT_ENGINE_THREAD_POOL_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace dynaquant {

// More threads than this are of no use to layers of this size, and each costs the caller a store.
constexpr std::size_t kMaxThreads = 256;

// How many threads a call may use, its own included: the number set last, else cpu_count().
std::size_t num_threads();
// 1..kMaxThreads; for all environments of the process.
void set_num_threads(std::size_t threads);
// The same, unless the number was set before.
void set_default_num_threads(std::size_t threads);

// A thread that runs a job has one of these meanwhile.
class JobThread {
 public:
  // While `stop` is true, the thread's calls should come to an end. `company`, if not null, counts
  // jobs, this one included, that want a thread each: its teams leave room for all of them.
  JobThread(const std::atomic<bool>& stop, const std::atomic<std::size_t>* company);
  ~JobThread();
  JobThread(const JobThread&) = delete;
  JobThread& operator=(const JobThread&) = delete;
};

// What one call may use. Holds the pool while it lives, if it got it; belongs to one thread.
class Team {
 public:
  // `wanted` counts the caller. Never waits: if the pool is taken, or there is no second thread to
  // be had, the team is the caller alone. `work_ns` is roughly what the whole call would take on
  // one thread. It decides whether threads that sleep are woken, because that takes time too. They
  // are woken here rather than in run(), so that they are there when it comes.
  Team(std::size_t wanted, std::uint64_t work_ns);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  // Participants, the caller included.
  std::size_t size() const { return size_; }

  // Whether nobody wants the result any more. Long calls ask this now and then, and return early.
  bool stopped() const { return stop_ != nullptr && stop_->load(std::memory_order_relaxed); }

  // Calls body(participant, begin, end) so that the ranges cover [0, count) exactly once, and
  // returns when all are done; what they wrote can be read then. participant < size(), and no two
  // threads have the same one. Every begin is a multiple of `grain`, every end too or `count`.
  //
  // A participant walks its own share from the front, the same share each time, so that the weights
  // it read stay in its caches. Then it takes what others have left, from the back. Which ranges it
  // gets depends on timing, so results must not depend on it.
  //
  // The body must not throw, which is checked by its type, and must not wait for another range.
  template <typename Body>
  void run(std::size_t count, std::size_t grain, const Body& body) {
    static_assert(
        std::is_nothrow_invocable<const Body&, std::size_t, std::size_t, std::size_t>::value,
        "no exception may leave a pool thread: say noexcept");
    if (size_ == 1 || count <= grain) {
      body(std::size_t{0}, std::size_t{0}, count);
    } else {
      run_phase({&call<Body>, &body, count, grain == 0 ? 1 : grain});
    }
  }

  // A body without its type.
  struct Phase {
    void (*call)(const void* body, std::size_t participant, std::size_t begin, std::size_t end);
    const void* body;
    std::size_t count;
    std::size_t grain;
  };

 private:
  template <typename Body>
  static void call(const void* body, std::size_t participant, std::size_t begin, std::size_t end) {
    (*static_cast<const Body*>(body))(participant, begin, end);
  }
  void run_phase(const Phase& phase);
  void await_members();

  const std::atomic<bool>* const stop_;  // of the job that this call belongs to, or null
  std::size_t size_ = 1;
  std::uint64_t finished_ = 0;  // chunks of all members but the caller, ever
  std::uint64_t start_ns_ = 0;
  std::uint64_t phases_ = 0;
  bool wakes_ = false;
  bool holds_ = false;
};

// Every environment (main thread or worker) has one of these while it lives. The last one to go
// ends the threads, because Node unloads the addon with the last worker environment that used it,
// which would pull the code from under them.
class ThreadPoolUser {
 public:
  ThreadPoolUser();
  ~ThreadPoolUser();
  ThreadPoolUser(const ThreadPoolUser&) = delete;
  ThreadPoolUser& operator=(const ThreadPoolUser&) = delete;
};

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_THREAD_POOL_H_
