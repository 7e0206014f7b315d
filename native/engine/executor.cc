// SPDX-License-Identifier: MIT
// One lock guards everything, because nothing is held for long: a job is taken or put down in a
// fraction of a microsecond, and runs without the lock.
#include "engine/executor.h"

#include <new>

#include "engine/thread_pool.h"
#include "engine/worker_thread.h"

namespace dynaquant {

using Lock = std::unique_lock<std::mutex>;

// The process-wide state.
struct Executor {
  struct Thread : WorkerThread {
    Thread* next_idle = nullptr;
  };

  std::mutex mutex;
  std::condition_variable ended;  // for groups that close, when a job has ended
  Job* first = nullptr;
  Job* last = nullptr;
  std::size_t running = 0;   // jobs that run
  bool team_wanted = false;  // by one of them
  // Jobs that want no team, from submit() until their group has taken them. Whoever takes the
  // result of one often brings the next, and a member that spins for the last of them meanwhile
  // keeps a thread from its work.
  std::atomic<std::size_t> company{0};
  std::size_t users = 0;
  bool stopping = false;
  std::size_t count = 0;  // of threads
  Thread* threads[kMaxThreads] = {};
  // Those that wait for work. The last one to sleep is the first to be called, because caches and
  // CPU are still its own.
  Thread* idle = nullptr;

  void push(Job* job);
  Job* leave(Job* job) {
    if (!job->wants_team_) company.fetch_sub(1, std::memory_order_relaxed);
    return job;
  }
  Job* take(Job* job);
  bool may_start() const {
    return first != nullptr && running < num_threads() && !(first->wants_team_ && team_wanted);
  }
  void recruit();
  void run(Job* job, Lock& lock);
  void work_on(Thread& self);
  void stop();
};

namespace {

// Never destroyed: the threads of other environments may wait for its lock while the process ends.
alignas(Executor) unsigned char storage[sizeof(Executor)];
Executor& executor = *new (storage) Executor;

void run_thread(Executor::Thread* thread) { executor.work_on(*thread); }

}  // namespace

void Executor::push(Job* job) {
  if (!job->wants_team_) company.fetch_add(1, std::memory_order_relaxed);
  job->queued_ = true;
  job->before_ = last;
  (last == nullptr ? first : last->next_) = job;
  last = job;
}

// Takes a job out of the queue.
Job* Executor::take(Job* job) {
  (job->before_ == nullptr ? first : job->before_->next_) = job->next_;
  (job->next_ == nullptr ? last : job->next_->before_) = job->before_;
  job->queued_ = false;
  job->before_ = job->next_ = nullptr;
  return job;
}

// Calls a thread for the first job that waits, unless it must wait on.
void Executor::recruit() {
  if (!may_start()) return;
  if (idle != nullptr) {
    Thread* thread = idle;
    idle = thread->next_idle;
    thread->call();
  } else if (count < num_threads()) {
    std::unique_ptr<Thread> thread(new (std::nothrow) Thread);
    if (thread != nullptr && thread->start(run_thread, thread.get())) {
      threads[count++] = thread.release();
    }
  }
}

// Runs a job that is out of the queue, and puts it down among its group's finished ones. The lock
// is free meanwhile.
void Executor::run(Job* job, Lock& lock) {
  JobGroup& group = *job->group_;
  ++running;
  team_wanted = team_wanted || job->wants_team_;
  ++group.running_;
  recruit();  // for jobs that waited because fewer threads were allowed
  lock.unlock();
  {
    const JobThread here(group.closing_, job->wants_team_ ? nullptr : &company);
    job->run();
  }
  lock.lock();
  --running;
  if (job->wants_team_) team_wanted = false;
  const bool notify = group.first_finished_ == nullptr;
  (notify ? group.first_finished_ : group.last_finished_->next_) = job;
  group.last_finished_ = job;
  // A group that closes waits for this, under the lock: after it is unlocked, the group is gone.
  if (notify && !group.closing_.load()) group.notify_(group.context_);
  --group.running_;
  if (group.closing_.load()) ended.notify_all();
}

void Executor::work_on(Thread& self) {
  Lock lock(mutex);
  while (!stopping) {
    if (may_start()) {
      run(take(first), lock);
    } else {
      self.next_idle = idle;
      idle = &self;
      lock.unlock();
      self.sleep();
      lock.lock();
    }
  }
}

// Ends the threads. There are no users, so nobody has jobs. The next user waits until it is done.
void Executor::stop() {
  Lock lock(mutex);
  if (--users > 0) return;
  stopping = true;
  for (; idle != nullptr; idle = idle->next_idle) idle->call();
  lock.unlock();
  for (std::size_t i = 0; i < count; ++i) delete threads[i];
  lock.lock();
  count = 0;
  stopping = false;
  ended.notify_all();
}

JobGroup::~JobGroup() {
  Lock lock(executor.mutex);
  closing_.store(true);
  for (Job *job = executor.first, *next; job != nullptr; job = next) {
    next = job->next_;
    if (job->group_ == this) delete executor.leave(executor.take(job));
  }
  while (running_ > 0) wait(executor.ended, lock);
  while (Job* job = first_finished_) {
    first_finished_ = job->next_;
    delete executor.leave(job);
  }
}

void JobGroup::submit(std::unique_ptr<Job> job, bool wants_team) {
  Lock lock(executor.mutex);
  job->wants_team_ = wants_team;
  job->group_ = this;
  executor.push(job.get());
  executor.recruit();
  if (executor.count == 0) executor.run(executor.take(job.get()), lock);
  job.release();
}

std::unique_ptr<Job> JobGroup::withdraw(Job* job) {
  Lock lock(executor.mutex);
  return std::unique_ptr<Job>(job->queued_ ? executor.leave(executor.take(job)) : nullptr);
}

std::unique_ptr<Job> JobGroup::take_finished() {
  Lock lock(executor.mutex);
  Job* job = first_finished_;
  if (job == nullptr) return nullptr;
  first_finished_ = job->next_;
  return std::unique_ptr<Job>(executor.leave(job));
}

ExecutorUser::ExecutorUser() {
  Lock lock(executor.mutex);
  while (executor.stopping) wait(executor.ended, lock);
  ++executor.users;
}

ExecutorUser::~ExecutorUser() { executor.stop(); }

}  // namespace dynaquant
