// SPDX-License-Identifier: MIT
// The executor on libuv's threads. One lock guards everything, because nothing is held for long: a
// job is taken or put down in a fraction of a microsecond, and runs without the lock.
#include <uv.h>

#include "engine/executor.h"
#include "engine/thread_pool.h"

namespace dynaquant {

// The process-wide state; zero at the start, and with no destructor that could run too early.
struct Executor {
  struct Thread {
    uv_thread_t thread;
    uv_sem_t wake;
    Thread* next_idle;
  };

  uv_mutex_t mutex;
  uv_cond_t ended;  // for groups that close, when a job has ended
  Job* first;
  Job* last;
  std::size_t running;  // jobs that run
  bool team_wanted;     // by one of them
  // Jobs that want no team, from submit() until their group has taken them. Whoever takes the
  // result of one often brings the next, and a member that spins for the last of them meanwhile
  // keeps a thread from its work.
  std::atomic<std::size_t> company;
  std::size_t users;
  bool stopping;
  std::size_t count;  // of threads
  Thread threads[kMaxThreads];
  // Those that wait for work. The last one to sleep is the first to be called, because caches and
  // CPU are still its own.
  Thread* idle;

  static Executor& get();

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
  void run(Job* job);
  void work_on(Thread& self);
  void stop();
};

namespace {

Executor executor;
uv_once_t once = UV_ONCE_INIT;

// The executor's lock, for as long as it lives.
class Locked {
 public:
  Locked() { uv_mutex_lock(&Executor::get().mutex); }
  ~Locked() { uv_mutex_unlock(&executor.mutex); }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;
};

void run_thread(void* thread) { executor.work_on(*static_cast<Executor::Thread*>(thread)); }

}  // namespace

Executor& Executor::get() {
  uv_once(&once, [] {
    uv_mutex_init(&executor.mutex);
    uv_cond_init(&executor.ended);
  });
  return executor;
}

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
    uv_sem_post(&thread->wake);
  } else if (count < num_threads()) {
    Thread& thread = threads[count];
    if (uv_sem_init(&thread.wake, 0) != 0) return;
    if (uv_thread_create(&thread.thread, run_thread, &thread) == 0) {
      ++count;
    } else {
      uv_sem_destroy(&thread.wake);
    }
  }
}

// Runs a job that is out of the queue, and puts it down among its group's finished ones. The caller
// holds the lock, which is free meanwhile.
void Executor::run(Job* job) {
  JobGroup& group = *job->group_;
  ++running;
  team_wanted = team_wanted || job->wants_team_;
  ++group.running_;
  recruit();  // for jobs that waited because fewer threads were allowed
  uv_mutex_unlock(&mutex);
  {
    const JobThread here(group.closing_, job->wants_team_ ? nullptr : &company);
    job->run();
  }
  uv_mutex_lock(&mutex);
  --running;
  if (job->wants_team_) team_wanted = false;
  const bool notify = group.first_finished_ == nullptr;
  (notify ? group.first_finished_ : group.last_finished_->next_) = job;
  group.last_finished_ = job;
  // A group that closes waits for this, under the lock: after it is unlocked, the group is gone.
  if (notify && !group.closing_.load()) group.notify_(group.context_);
  --group.running_;
  if (group.closing_.load()) uv_cond_broadcast(&ended);
}

void Executor::work_on(Thread& self) {
  uv_mutex_lock(&mutex);
  while (!stopping) {
    if (may_start()) {
      run(take(first));
    } else {
      self.next_idle = idle;
      idle = &self;
      uv_mutex_unlock(&mutex);
      uv_sem_wait(&self.wake);
      uv_mutex_lock(&mutex);
    }
  }
  uv_mutex_unlock(&mutex);
}

// Ends the threads. There are no users, so nobody has jobs. The next user waits until it is done.
void Executor::stop() {
  const Locked lock;
  if (--users > 0) return;
  stopping = true;
  for (; idle != nullptr; idle = idle->next_idle) uv_sem_post(&idle->wake);
  uv_mutex_unlock(&mutex);
  for (std::size_t i = 0; i < count; ++i) {
    uv_thread_join(&threads[i].thread);
    uv_sem_destroy(&threads[i].wake);
  }
  uv_mutex_lock(&mutex);
  count = 0;
  stopping = false;
  uv_cond_broadcast(&ended);
}

JobGroup::~JobGroup() {
  const Locked lock;
  closing_.store(true);
  for (Job *job = executor.first, *next; job != nullptr; job = next) {
    next = job->next_;
    if (job->group_ == this) delete executor.leave(executor.take(job));
  }
  while (running_ > 0) uv_cond_wait(&executor.ended, &executor.mutex);
  while (Job* job = first_finished_) {
    first_finished_ = job->next_;
    delete executor.leave(job);
  }
}

void JobGroup::submit(std::unique_ptr<Job> job, bool wants_team) {
  const Locked lock;
  job->wants_team_ = wants_team;
  job->group_ = this;
  executor.push(job.get());
  executor.recruit();
  if (executor.count == 0) executor.run(executor.take(job.get()));
  job.release();
}

std::unique_ptr<Job> JobGroup::withdraw(Job* job) {
  const Locked lock;
  return std::unique_ptr<Job>(job->queued_ ? executor.leave(executor.take(job)) : nullptr);
}

std::unique_ptr<Job> JobGroup::take_finished() {
  const Locked lock;
  Job* job = first_finished_;
  if (job == nullptr) return nullptr;
  first_finished_ = job->next_;
  return std::unique_ptr<Job>(executor.leave(job));
}

ExecutorUser::ExecutorUser() {
  const Locked lock;
  while (executor.stopping) uv_cond_wait(&executor.ended, &executor.mutex);
  ++executor.users;
}

ExecutorUser::~ExecutorUser() { executor.stop(); }

}  // namespace dynaquant
