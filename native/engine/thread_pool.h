// SPDX-License-Identifier: MIT
#ifndef DYNAQUANT_ENGINE_THREAD_POOL_H_
#define DYNAQUANT_ENGINE_THREAD_POOL_H_
#include <cstddef>
namespace dynaquant {
inline std::size_t num_threads() { return 1; }
class Team {
 public:
  explicit Team(std::size_t) {}
  std::size_t size() const { return 1; }
  template <typename Body>
  void run(std::size_t count, std::size_t, const Body& body) {
    body(std::size_t{0}, std::size_t{0}, count);
  }
};
}  // namespace dynaquant
#endif
