// SPDX-License-Identifier: MIT
// How a phase works. Every participant has a slot, a cache line of its own, with the share of the
// phase that begins with it. The caller writes the slots, publishes each with one atomic word, and
// goes to work; a member spins on its slot's word until it changes. Work is claimed with a
// compare-and-swap on that word, from the front by the slot's owner and from the back by others.
//
// The caller never waits for a member to show up: it does what nobody claimed, and waits only for
// what was claimed. So a member that sleeps, is preempted, or does not exist (after a fork) costs
// time, but never progress.
//
// A member reads nothing but the word before a claim has succeeded. From then until it reports the
// claim as finished, run() cannot return, so the slot and the body are alive. A late member may
// compare with the word of any later phase, without harm: a claim that succeeds is a claim in the
// phase whose word it was, whatever the claimer believed.
#include "engine/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <new>
#include <thread>

#include "engine/cpu_count.h"
#include "engine/cpu_placement.h"
#include "engine/worker_thread.h"

namespace dynaquant {
namespace {

// A share's unclaimed chunks, [begin, end) in units of the phase's grain, and the size of the team,
// so that a late member of a larger team knows that it has no part in this one.
struct Share {
  static constexpr std::uint64_t kMaxChunks = (std::uint64_t{1} << 28) - 1;

  std::uint64_t begin;
  std::uint64_t end;
  std::uint64_t team;

  static Share from(std::uint64_t word) {
    return {word & kMaxChunks, word >> 28 & kMaxChunks, (word >> 56) + 1};
  }
  std::uint64_t word() const { return begin | end << 28 | (team - 1) << 56; }
};
static_assert(kMaxThreads <= 256, "a team's size has 8 bits");

// Half of what is left: large pieces first, for long runs of weights, and small ones at the end,
// where everybody waits for the last.
std::uint64_t half(const Share& share) { return (share.end - share.begin + 1) / 2; }

// One cache line carries everything a member needs to begin, and what it reports: each further line
// would cost a transfer between cores. 128 bytes, because x86 fetches lines in pairs and Apple's
// lines are that large.
struct alignas(128) Slot {
  std::atomic<std::uint64_t> share;     // a Share's word
  std::atomic<std::uint64_t> finished;  // chunks the owner did, ever; written by the owner only
  Team::Phase phase;                    // valid from a claim in `share` until it is finished
};

struct alignas(128) Member {
  // Set by the member before it sleeps. Whoever clears it calls `thread`, unless it is the member.
  std::atomic<bool> parked;
  std::atomic<std::uint64_t> quiet_until;  // a time; nobody should wake it earlier
  std::atomic<int> id;                     // its thread_id(); 0 until known
  int avoids;                              // a CPU that its affinity leaves out, plus one
  WorkerThread* thread;
};

// The process-wide state; zero at the start, and with no destructor that could run too early.
struct Pool {
  std::atomic<bool> taken;  // owns everything below that is not atomic
  std::atomic<bool> stopping;
  std::atomic<std::uint64_t> spin_ns;
  std::atomic<int> caller_cpu;
  std::atomic<std::size_t> users;
  std::size_t members;
  bool exhausted;             // no further thread could be created
  int process;                // the one that created the threads; a fork is another
  std::uint64_t burst_ns;     // when the present series of calls began
  std::uint64_t last_ns;      // when the last call ended
  std::uint64_t alone_until;  // a time; 0 for none

  // Index 0 is the caller's.
  Slot slots[kMaxThreads];
  Member team[kMaxThreads];
};
Pool pool;

std::atomic<std::size_t> threads_setting;

std::atomic<std::size_t> jobs_running;
thread_local const std::atomic<bool>* job_stop = nullptr;  // null on threads that run no job
thread_local const std::atomic<std::size_t>* job_company = nullptr;

// How many of `wanted` threads are left to a call on this thread beside the jobs of others.
std::size_t beside_jobs(std::size_t wanted, const std::atomic<bool>* stop) {
  std::size_t jobs = jobs_running.load(std::memory_order_relaxed);
  if (job_company != nullptr) {
    jobs = std::max(jobs, job_company->load(std::memory_order_relaxed));
  }
  const std::size_t others = stop == nullptr ? jobs : jobs - 1;
  return wanted > others ? wanted - others : 1;
}

// cpu_count(), asked once.
std::size_t usable_cpus() {
  static std::atomic<std::size_t> known;
  std::size_t count = known.load(std::memory_order_relaxed);
  if (count == 0) {
    count = cpu_count();
    known.store(count, std::memory_order_relaxed);
  }
  return count;
}

// How long a member looks for work before it sleeps.
constexpr std::uint64_t kMemberSpinNs = 50 * 1000;
// A member that finds itself on the caller's CPU in spite of keep_off() sleeps at once. It is left
// alone for this long, because waking it costs the caller two switches of threads.
constexpr std::uint64_t kQuietNs = 1000 * 1000;
// Waking a thread costs the caller some microseconds, and on a virtual machine the thread runs tens
// of microseconds later, when the virtual CPU has left its halt. So waking pays for a call that is
// longer than this, or in a series of calls so dense that the thread still spins when the next one
// comes.
constexpr std::uint64_t kWorthWakingNs = 100 * 1000;
// A caller that waited for a member without a CPU then works alone for this many times as long,
// within limits. That bounds what a busy machine can cost.
constexpr std::uint64_t kAloneFactor = 4;
constexpr std::uint64_t kMaxAloneNs = 20 * 1000 * 1000;
// How long a caller spins for claimed chunks before it lets others have its CPU. Longer than chunks
// should take, because a nap takes longer still.
constexpr std::uint64_t kCallerSpinNs = 50 * 1000;

// Lets others have the CPU. Not by sched_yield, because Linux 6.18 charges a loop of those to the
// thread as if it had computed, and then starves the caller on a busy machine.
void nap() { std::this_thread::sleep_for(std::chrono::microseconds(50)); }

// What current_cpu() returns if it does not know: never the same for a member and a caller.
constexpr int kNoCallerCpu = -1;
constexpr int kNoMemberCpu = -2;

// The time of a clock that never goes back.
std::uint64_t clock_ns() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
}

// Counts down a time. It looks at the clock only now and then.
class Spin {
 public:
  explicit Spin(std::uint64_t limit_ns) : limit_(limit_ns) {}
  // False when the time is over.
  bool once() {
    if (limit_ == 0) return false;
    pause_cpu();
    if (++count_ % 32 != 0) return true;
    const std::uint64_t now = clock_ns();
    if (start_ == 0) start_ = now;
    return now - start_ < limit_;
  }

 private:
  std::uint64_t limit_;
  std::uint64_t start_ = 0;
  std::uint32_t count_ = 0;
};

// Claims chunks of `owner`'s share and does them, until none is left there. Returns how many it
// did. `last` becomes the last word of the share that it saw.
std::uint64_t drain(std::size_t self, std::size_t owner, std::uint64_t* last) {
  Slot& slot = pool.slots[owner];
  std::uint64_t done = 0;
  std::uint64_t word = slot.share.load(std::memory_order_acquire);
  for (;;) {
    const Share share = Share::from(word);
    if (share.begin == share.end || self >= share.team) break;
    const std::uint64_t taken = half(share);
    const std::uint64_t first = self == owner ? share.begin : share.end - taken;
    Share rest = share;
    if (self == owner) {
      rest.begin += taken;
    } else {
      rest.end -= taken;
    }
    if (!slot.share.compare_exchange_weak(word, rest.word(), std::memory_order_acq_rel,
                                          std::memory_order_acquire)) {
      continue;
    }
    const Team::Phase& phase = slot.phase;
    phase.call(phase.body, self, first * phase.grain,
               std::min<std::size_t>((first + taken) * phase.grain, phase.count));
    done += taken;
    if (self != 0) {
      // Single writer. The last touch of the phase: after it, run() may return.
      std::atomic<std::uint64_t>& finished = pool.slots[self].finished;
      finished.store(finished.load(std::memory_order_relaxed) + taken, std::memory_order_release);
    }
    word = slot.share.load(std::memory_order_acquire);
  }
  *last = word;
  return done;
}

// Does whatever it can claim: its own share first, then those of the others in turn. Returns how
// many chunks it did. `seen` becomes the last word of its own share that it saw.
std::uint64_t work(std::size_t self, std::uint64_t* seen) {
  std::uint64_t done = drain(self, self, seen);
  const std::size_t team = Share::from(*seen).team;
  for (std::size_t other = self + 1; other < team; ++other) {
    std::uint64_t ignored;
    done += drain(self, other, &ignored);
  }
  for (std::size_t other = 0; other < std::min(self, team); ++other) {
    std::uint64_t ignored;
    done += drain(self, other, &ignored);
  }
  return done;
}

// Whether this member is on the caller's CPU, where it runs only while the caller does not.
bool misplaced() {
  return current_cpu(kNoMemberCpu) == pool.caller_cpu.load(std::memory_order_relaxed);
}

void wake(Member& member) {
  // Reads first, so that the line of a member that is awake stays in everybody's cache.
  if (member.parked.load() && member.parked.exchange(false)) member.thread->call();
}

// Lets the sleeping member run anywhere but on the caller's CPU. By itself the scheduler of a
// virtual machine with two CPUs almost always woke it right there, and two threads were slower than
// one (Linux 6.18 on KVM, lightly loaded). False if nothing changed.
bool keep_off(Member& member, int cpu) {
  const int id = member.id.load(std::memory_order_relaxed);
  if (cpu < 0 || id == 0 || member.avoids == cpu + 1) return false;
  member.avoids = cpu + 1;  // whatever comes: one attempt is enough
  return keep_off_cpu(id, cpu);
}

// Wakes a sleeping member, unless it went to sleep a moment ago because it was on the caller's CPU,
// and cannot be kept off it.
void call_in(Member& member, int caller_cpu) {
  if (!member.parked.load(std::memory_order_relaxed)) return;
  if (!keep_off(member, caller_cpu)) {
    const std::uint64_t until = member.quiet_until.load(std::memory_order_relaxed);
    if (until != 0 && clock_ns() < until) return;
  }
  wake(member);
}

void run_member(Member* pointer) {
  Member& member = *pointer;
  const std::size_t self = pointer - pool.team;
  member.id.store(thread_id(), std::memory_order_relaxed);
  const std::atomic<std::uint64_t>& share = pool.slots[self].share;
  std::uint64_t seen = share.load(std::memory_order_acquire);
  const auto idle = [&] {
    return share.load(std::memory_order_acquire) == seen && !pool.stopping.load();
  };
  while (!pool.stopping.load()) {
    Spin spin(pool.spin_ns.load(std::memory_order_relaxed));
    bool stay = !misplaced();
    if (stay) work(self, &seen);
    while (stay && idle()) stay = spin.once() && !misplaced();
    if (stay) continue;
    member.quiet_until.store(misplaced() ? clock_ns() + kQuietNs : 0, std::memory_order_relaxed);
    // Sequentially consistent with stop(): either we see it or it sees us. run() has no such fence,
    // because it would make the caller wait for its stores. A wake-up that run() misses costs one
    // phase without this member.
    member.parked.store(true);
    const bool late = pool.stopping.load() || share.load() != seen;
    if (!late || !member.parked.exchange(false)) member.thread->sleep();
  }
}

// Creates the members that are missing, if `create`. Returns how many of `members` there are.
std::size_t recruit(std::size_t members, bool create) {
  if (pool.members == 0) pool.process = process_id();
  // A fork took the threads away. No new ones are started, because locks may have been held.
  if (pool.process != process_id()) return 0;
  while (create && pool.members < members && !pool.exhausted) {
    Member& member = pool.team[pool.members + 1];
    member.parked.store(false);
    member.quiet_until.store(0);
    member.id.store(0);
    member.avoids = 0;
    member.thread = new (std::nothrow) WorkerThread;
    pool.exhausted = member.thread == nullptr || !member.thread->start(run_member, &member);
    if (pool.exhausted) {
      delete member.thread;
      break;
    }
    ++pool.members;
  }
  return std::min(members, pool.members);
}

bool try_take() {
  return !pool.taken.load(std::memory_order_relaxed) &&
         !pool.taken.exchange(true, std::memory_order_acquire);
}

void give_back() { pool.taken.store(false, std::memory_order_release); }

// Ends the threads. The next team starts new ones.
void stop() {
  while (!try_take()) nap();
  if (pool.members != 0 && pool.process == process_id()) {
    pool.stopping.store(true);
    for (std::size_t i = 1; i <= pool.members; ++i) wake(pool.team[i]);
    for (std::size_t i = 1; i <= pool.members; ++i) delete pool.team[i].thread;
    pool.stopping.store(false);
    pool.members = 0;
    pool.exhausted = false;
  }
  give_back();
}

}  // namespace

std::size_t num_threads() {
  const std::size_t threads = threads_setting.load(std::memory_order_relaxed);
  if (threads != 0) return threads;
  set_default_num_threads(usable_cpus());
  return threads_setting.load(std::memory_order_relaxed);
}

void set_num_threads(std::size_t threads) {
  threads_setting.store(std::clamp<std::size_t>(threads, 1, kMaxThreads),
                        std::memory_order_relaxed);
}

void set_default_num_threads(std::size_t threads) {
  std::size_t unset = 0;
  threads_setting.compare_exchange_strong(unset, std::clamp<std::size_t>(threads, 1, kMaxThreads),
                                          std::memory_order_relaxed);
}

JobThread::JobThread(const std::atomic<bool>& stop, const std::atomic<std::size_t>* company) {
  job_stop = &stop;
  job_company = company;
  jobs_running.fetch_add(1, std::memory_order_relaxed);
}

JobThread::~JobThread() {
  jobs_running.fetch_sub(1, std::memory_order_relaxed);
  job_stop = nullptr;
  job_company = nullptr;
}

Team::Team(std::size_t wanted, std::uint64_t work_ns) : stop_(job_stop) {
  if (wanted < 2 || (wanted = beside_jobs(wanted, stop_)) < 2) return;
  const std::size_t cpus = usable_cpus();
  if (!try_take()) return;
  start_ns_ = clock_ns();
  if (start_ns_ < pool.alone_until) {
    give_back();
    return;
  }
  if (start_ns_ - pool.last_ns > kMemberSpinNs) pool.burst_ns = start_ns_;
  wakes_ = work_ns >= kWorthWakingNs || start_ns_ - pool.burst_ns >= kWorthWakingNs;
  const std::size_t size = 1 + recruit(std::min(wanted, kMaxThreads) - 1, wakes_);

  const int cpu = current_cpu(kNoCallerCpu);
  pool.caller_cpu.store(cpu, std::memory_order_relaxed);
  // If threads outnumber CPUs, one that spins keeps another from its work.
  pool.spin_ns.store(size <= cpus ? kMemberSpinNs : 0, std::memory_order_relaxed);
  bool anybody = false;
  for (std::size_t i = 1; i < size; ++i) {
    finished_ += pool.slots[i].finished.load(std::memory_order_acquire);
    if (wakes_) call_in(pool.team[i], cpu);
    anybody = anybody || !pool.team[i].parked.load(std::memory_order_relaxed);
  }
  // Holds the pool even if nobody is there, because the time at which this call ends decides
  // whether the next one belongs to a series.
  holds_ = true;
  if (anybody) size_ = size;
}

Team::~Team() {
  if (!holds_) return;
  pool.last_ns = clock_ns();
  give_back();
}

void Team::run_phase(const Phase& phase) {
  const std::uint64_t chunks = (phase.count - 1) / phase.grain + 1;
  ++phases_;
  if (pool.alone_until != 0 && clock_ns() >= pool.alone_until) pool.alone_until = 0;
  // Jobs may have begun since the team was made. Long calls give their threads to them.
  const std::size_t size = beside_jobs(size_, stop_);
  if (size == 1 || pool.alone_until != 0 || chunks > Share::kMaxChunks) {
    phase.call(phase.body, 0, 0, phase.count);
    return;
  }
  const int cpu = current_cpu(kNoCallerCpu);
  pool.caller_cpu.store(cpu, std::memory_order_relaxed);
  // Rounded up, so that the caller has the first chunk if there are fewer chunks than members.
  const auto bound = [&](std::size_t i) { return (i * chunks + size - 1) / size; };
  for (std::size_t i = 1; i < size; ++i) {
    pool.slots[i].phase = phase;
    pool.slots[i].share.store(Share{bound(i), bound(i + 1), size}.word(),
                              std::memory_order_release);
  }
  // The caller claims its first piece before anybody sees its share, because a compare-and-swap
  // would wait here until the stores above have reached the other cores.
  Share own = {0, bound(1), size};
  const std::uint64_t first = half(own);
  own.begin += first;
  pool.slots[0].phase = phase;
  pool.slots[0].share.store(own.word(), std::memory_order_release);
  if (wakes_) {
    for (std::size_t i = 1; i < size; ++i) call_in(pool.team[i], cpu);
  }
  phase.call(phase.body, 0, 0, std::min<std::size_t>(first * phase.grain, phase.count));

  std::uint64_t seen;
  finished_ += chunks - first - work(0, &seen);
  await_members();
}

// Waits for the chunks that others claimed.
void Team::await_members() {
  const auto done = [&] {
    std::uint64_t finished = 0;
    for (std::size_t i = 1; i < size_; ++i) {
      finished += pool.slots[i].finished.load(std::memory_order_acquire);
    }
    return finished == finished_;
  };
  Spin spin(kCallerSpinNs);
  do {
    if (done()) return;
  } while (spin.once());
  const std::uint64_t began = clock_ns();
  while (!done()) nap();
  // Longer than several phases: the member was not slow, it had no CPU. Others want that CPU, so
  // the caller does without the member for some time. Otherwise it would wait in every phase.
  const std::uint64_t now = clock_ns();
  const std::uint64_t waited = now - began;
  if (waited > kCallerSpinNs && waited / 4 > (began - start_ns_) / phases_) {
    pool.alone_until = now + std::min(waited * kAloneFactor, kMaxAloneNs);
  }
}

ThreadPoolUser::ThreadPoolUser() { pool.users.fetch_add(1); }

ThreadPoolUser::~ThreadPoolUser() {
  if (pool.users.fetch_sub(1) == 1) stop();
}

}  // namespace dynaquant
