// SPDX-License-Identifier: MIT
// The thread pool and the executor of a WebAssembly module, which has one thread: teams are the
// caller alone, and a job runs while it is submitted.
#include "engine/cpu_count.h"
#include "engine/executor.h"
#include "engine/thread_pool.h"

namespace dynaquant {

std::size_t cpu_count() { return 1; }
std::size_t cgroup_cpu_quota(const std::string&) { return 0; }

std::size_t num_threads() { return 1; }
void set_num_threads(std::size_t) {}
void set_default_num_threads(std::size_t) {}

JobThread::JobThread(const std::atomic<bool>&, const std::atomic<std::size_t>*) {}
JobThread::~JobThread() {}

Team::Team(std::size_t, std::uint64_t) : stop_(nullptr) {}
Team::~Team() {}
void Team::run_phase(const Phase& phase) { phase.call(phase.body, 0, 0, phase.count); }

ThreadPoolUser::ThreadPoolUser() {}
ThreadPoolUser::~ThreadPoolUser() {}
ExecutorUser::ExecutorUser() {}
ExecutorUser::~ExecutorUser() {}

void JobGroup::submit(std::unique_ptr<Job> job, bool) {
  Job* done = job.release();
  done->run();
  const bool notify = first_finished_ == nullptr;
  (notify ? first_finished_ : last_finished_->next_) = done;
  last_finished_ = done;
  if (notify) notify_(context_);
}

std::unique_ptr<Job> JobGroup::withdraw(Job*) { return nullptr; }

std::unique_ptr<Job> JobGroup::take_finished() {
  Job* job = first_finished_;
  if (job != nullptr) first_finished_ = job->next_;
  return std::unique_ptr<Job>(job);
}

JobGroup::~JobGroup() {
  while (take_finished() != nullptr) {
  }
}

}  // namespace dynaquant
