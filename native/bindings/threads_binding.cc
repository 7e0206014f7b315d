// SPDX-License-Identifier: MIT
// The number of threads, and the private door through which the tests use the pool.
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

#include "bindings/arguments.h"
#include "bindings/bindings.h"
#include "engine/cpu_count.h"
#include "engine/thread_pool.h"

namespace dynaquant {
namespace {

template <void (*set)(std::size_t)>
void set_threads(const Napi::CallbackInfo& info) {
  set(size_argument(info.Env(), info[0], "threads"));
}

// getNumThreads(): number
Napi::Value get_threads(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(num_threads()));
}

// testCgroupQuota(root): number
Napi::Value test_cgroup_quota(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(),
                           static_cast<double>(cgroup_cpu_quota(info[0].ToString().Utf8Value())));
}

// testTeam(threads, workNs, count, grain, rounds, spins): [size, participants] of one team that
// covered [0, count) `rounds` times, each index with some spins of work; participants is the most
// that took part in one round. Throws where an index was not covered exactly once.
Napi::Value test_team(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::size_t threads = size_argument(env, info[0], "threads");
  const std::size_t work_ns = size_argument(env, info[1], "workNs");
  const std::size_t count = size_argument(env, info[2], "count");
  const std::size_t grain = size_argument(env, info[3], "grain");
  const std::size_t rounds = size_argument(env, info[4], "rounds");
  const std::size_t spins = size_argument(env, info[5], "spins");

  std::vector<std::size_t> covered(count);  // no atomics: a second writer is a mistake to find
  std::atomic<bool> misled{false};
  std::size_t most = 0;
  Team team(threads, work_ns);
  const std::size_t size = team.size();
  for (std::size_t round = 0; round < rounds; ++round) {
    std::vector<std::size_t> done(size);
    team.run(count, grain,
             [&](std::size_t participant, std::size_t begin, std::size_t end) noexcept {
               if (participant >= size || begin > end || end > count) {
                 misled = true;
                 return;
               }
               for (std::size_t i = begin; i < end; ++i) {
                 for (volatile std::size_t spin = 0; spin < spins;) spin = spin + 1;
                 ++covered[i];
               }
               done[participant] += end - begin;
             });
    std::size_t participants = 0;
    for (const std::size_t part : done) participants += part != 0;
    most = std::max(most, participants);
    for (const std::size_t times : covered) misled = misled || times != round + 1;
  }
  if (misled) throw Napi::Error::New(env, "an index was not covered exactly once");
  Napi::Array result = Napi::Array::New(env, 2);
  result[0u] = Napi::Number::New(env, static_cast<double>(size));
  result[1u] = Napi::Number::New(env, static_cast<double>(most));
  return result;
}

}  // namespace

void init_threads(Napi::Env env, Napi::Object exports) {
  exports.Set("setNumThreads", Napi::Function::New<set_threads<set_num_threads>>(env));
  exports.Set("setDefaultNumThreads",
              Napi::Function::New<set_threads<set_default_num_threads>>(env));
  exports.Set("getNumThreads", Napi::Function::New<get_threads>(env));
  exports.Set("testCgroupQuota", Napi::Function::New<test_cgroup_quota>(env));
  exports.Set("testTeam", Napi::Function::New<test_team>(env));
}

}  // namespace dynaquant
