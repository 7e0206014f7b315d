// SPDX-License-Identifier: MIT
// Jobs: calls that run on threads of the process's own while their caller goes on.
//
// There is one queue, and no more threads than num_threads(). Each runs one job after the other, in
// the order in which they came. A job that runs alone may share its work with the whole pool; the
// more run at once, the smaller are their teams (thread_pool.h), so that all together ask for no
// more threads than one call does.
#ifndef DYNAQUANT_ENGINE_EXECUTOR_H_
#define DYNAQUANT_ENGINE_EXECUTOR_H_

#include <atomic>
#include <cstddef>
#include <memory>

namespace dynaquant {

// What is to be done. It runs at most once.
class Job {
 public:
  virtual ~Job() = default;
  // On a thread of the executor. What its Teams compute ends early once the group is closed.
  virtual void run() noexcept = 0;

 private:
  friend class JobGroup;
  friend struct Executor;
  bool wants_team_ = false;
  class JobGroup* group_ = nullptr;
  bool queued_ = false;
  Job* before_ = nullptr;  // in the queue
  Job* next_ = nullptr;    // in the queue, or among the group's finished ones
};

// The jobs of one environment. All methods belong to the environment's thread.
class JobGroup {
 public:
  // `notify` is called when there are finished jobs and there were none before: on any thread, and
  // under a lock, so that it must not wait nor call back.
  JobGroup(void (*notify)(void* context), void* context) : notify_(notify), context_(context) {}
  // Forgets the jobs that wait, asks those that run to end, and waits for them.
  ~JobGroup();
  JobGroup(const JobGroup&) = delete;
  JobGroup& operator=(const JobGroup&) = delete;

  // Queues a job. If there are no threads to be had, it runs here and now. Of those that
  // `want_team` one runs at a time, because with all threads each it takes them less time than one
  // beside the other.
  void submit(std::unique_ptr<Job> job, bool wants_team);
  // Takes a job back if it still waits; null if it runs or has run.
  std::unique_ptr<Job> withdraw(Job* job);
  // The next job that has run, in the order in which they ended; null if there is none.
  std::unique_ptr<Job> take_finished();

 private:
  friend struct Executor;
  void (*const notify_)(void* context);
  void* const context_;
  std::atomic<bool> closing_{false};
  std::size_t running_ = 0;
  Job* first_finished_ = nullptr;
  Job* last_finished_ = nullptr;
};

// Every environment has one while it lives. The last one to go ends the threads: see
// ThreadPoolUser.
class ExecutorUser {
 public:
  ExecutorUser();
  ~ExecutorUser();
  ExecutorUser(const ExecutorUser&) = delete;
  ExecutorUser& operator=(const ExecutorUser&) = delete;
};

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_EXECUTOR_H_
