#!/usr/bin/env bash
# Expected: a library that should load on older systems avoids the C++ library's threads, whose symbols carry newer
# versions than pthread's plain C.
# So it is the other way round with gcc 12 on glibc 2.34 and later: std::thread needs the libstdc++ of gcc 6 and nothing of
# glibc, because libstdc++.so makes the thread, while pthread_create, pthread_join and sem_wait need 2.34
# itself. Of std::condition_variable everything is old but wait(), which needs gcc 12's libstdc++ (GLIBCXX_3.4.30);
# pthread_cond_wait on its native_handle() needs no newer libstdc++ than the rest.
# Where it counts here: native/engine/worker_thread.h.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
newest() { # version of library $1 that the program on standard input needs
  g++ -std=c++17 -O2 -shared -fPIC -pthread -x c++ - -o out.so
  { objdump -T out.so | grep -oE "\b$1_[0-9.]+" || echo none; } | sort -Vu | tail -n 1
}
pthread=$(newest GLIBC <<<'#include <pthread.h>
pthread_t t; int start(void* (*f)(void*)) { return pthread_create(&t, nullptr, f, nullptr); }')
thread=$(newest GLIBC <<<'#include <thread>
void start(void (*f)()) { std::thread(f).detach(); }')
thread_cxx=$(newest GLIBCXX <<<'#include <thread>
void start(void (*f)()) { std::thread(f).detach(); }')
wait=$(newest GLIBCXX <<<'#include <condition_variable>
void f(std::condition_variable& c, std::unique_lock<std::mutex>& l) { c.wait(l); }')
native=$(newest GLIBCXX <<<'#include <condition_variable>
void f(std::condition_variable& c, std::unique_lock<std::mutex>& l) {
  pthread_cond_wait(c.native_handle(), l.mutex()->native_handle());
}')
echo "pthread_create: $pthread; std::thread: $thread, $thread_cxx; condition_variable::wait: $wait," \
  "pthread_cond_wait: $native"
[ "$pthread" = GLIBC_2.34 ] && [ "$thread" = none ] && [ "$thread_cxx" = GLIBCXX_3.4.22 ]
[ "$wait" = GLIBCXX_3.4.30 ] && [ "$native" != GLIBCXX_3.4.30 ]
