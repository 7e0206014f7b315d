// SPDX-License-Identifier: MIT
// Threads that sleep until they are called, from the C++ library: Node-API promises no others, and
// what some runtimes lack of libuv ends the process there.
#ifndef DYNAQUANT_ENGINE_WORKER_THREAD_H_
#define DYNAQUANT_ENGINE_WORKER_THREAD_H_

#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>

namespace dynaquant {

// condition.wait(lock).
inline void wait(std::condition_variable& condition, std::unique_lock<std::mutex>& lock) {
#if defined(__GLIBCXX__) && defined(__linux__)
  // What gcc 12 compiles of wait() needs the libstdc++ of gcc 12, which RHEL 9 does not have.
  pthread_cond_wait(condition.native_handle(), lock.mutex()->native_handle());
#else
  condition.wait(lock);
#endif
}

// The system chooses the size of its stack: 128 KiB where that is least, with musl. Calls take half
// of that.
class WorkerThread {
 public:
  WorkerThread() = default;
  // Waits for its end, which somebody else must have asked it for.
  ~WorkerThread() {
    if (thread_.joinable()) thread_.join();
  }
  WorkerThread(const WorkerThread&) = delete;
  WorkerThread& operator=(const WorkerThread&) = delete;

  // Lets it run body(argument). False if the system has no further thread.
  template <typename Argument>
  bool start(void (*body)(Argument*), Argument* argument) noexcept {
    try {
      thread_ = std::thread(body, argument);
      return true;
    } catch (const std::exception&) {
      return false;
    }
  }

  // Ends its sleep, or else its next one.
  void call() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      called_ = true;
    }
    condition_.notify_one();
  }

  // By the thread itself.
  void sleep() {
    std::unique_lock<std::mutex> lock(mutex_);
    while (!called_) wait(condition_, lock);
    called_ = false;
  }

 private:
  std::mutex mutex_;
  std::condition_variable condition_;
  bool called_ = false;
  std::thread thread_;
};

}  // namespace dynaquant

#endif  // DYNAQUANT_ENGINE_WORKER_THREAD_H_
