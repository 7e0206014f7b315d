// SPDX-License-Identifier: MIT
// What the thread pool asks of the processor and of the operating system, as far as they answer.
#ifndef DYNAQUANT_ENGINE_CPU_PLACEMENT_H_
#define DYNAQUANT_ENGINE_CPU_PLACEMENT_H_

#if defined(__linux__)
#include <sched.h>
#include <sys/syscall.h>
#endif
#if !defined(_WIN32)
#include <unistd.h>
#endif

namespace dynaquant {

// A number that differs in a fork of this process, where forks are.
inline int process_id() {
#if defined(_WIN32)
  return 0;
#else
  return static_cast<int>(getpid());
#endif
}

// The CPU that this thread is on, or `unknown` if the system does not tell.
inline int current_cpu(int unknown) {
#if defined(__linux__)
  const int cpu = sched_getcpu();
  return cpu < 0 ? unknown : cpu;
#else
  return unknown;
#endif
}

// The system's number of this thread, for keep_off_cpu(); 0 if there is none.
inline int thread_id() {
#if defined(__linux__)
  return static_cast<int>(syscall(SYS_gettid));
#else
  return 0;
#endif
}

// Lets a thread run on all of the caller's CPUs except one. False if nothing changed.
inline bool keep_off_cpu(int thread, int cpu) {
#if defined(__linux__)
  cpu_set_t mask;
  if (sched_getaffinity(0, sizeof(mask), &mask) != 0) return false;
  CPU_CLR(cpu, &mask);
  return CPU_COUNT(&mask) > 0 && sched_setaffinity(thread, sizeof(mask), &mask) == 0;
#else
  (void)thread, (void)cpu;
  return false;
#endif
}

// A moment of a loop that waits.
inline void pause_cpu() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");  // `yield` is a no-op on most cores
#endif
}

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_CPU_PLACEMENT_H_
