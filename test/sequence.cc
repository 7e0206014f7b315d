// SPDX-License-Identifier: MIT
// For sequence.test.ts: walks over batches of sequences as the engine does and prints the walks.
// A line of input: direction (1 is forwards), chunk_rows, packed (0 or 1), then each step's rows.
// A line of output, as JSON: [[first_rows], [chunk], [step], ..., [chunk], [step], ...].
#include <cstddef>
#include <cstdint>
#include <iostream>
#include <numeric>
#include <sstream>
#include <string>
#include <vector>

#include "engine/sequence.h"

using namespace dynaquant;

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream numbers(line);
    bool forward, packed;
    std::size_t chunk_rows;
    numbers >> forward >> chunk_rows >> packed;
    std::vector<std::int64_t> sizes;
    for (std::int64_t size; numbers >> size;) sizes.push_back(size);
    const auto rows =
        static_cast<std::size_t>(std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0}));
    const Sequence sequence = {sizes.size(), static_cast<std::size_t>(sizes[0]), rows,
                               packed ? sizes.data() : nullptr};
    SequenceWalk walk(sequence, forward, chunk_rows);
    std::cout << "[[" << walk.first_rows() << "]";
    while (!walk.done()) {
      const SequenceChunk chunk = walk.next_chunk();
      std::cout << ",[" << chunk.row << ',' << chunk.rows << ',' << chunk.steps << ']';
      for (std::size_t i = 0; i < chunk.steps; ++i) {
        const SequenceStep step = walk.next_step();
        std::cout << ",[" << step.row << ',' << step.rows << ',' << step.rows_before << ']';
      }
    }
    std::cout << "]\n";
  }
}
