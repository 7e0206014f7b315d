// SPDX-License-Identifier: MIT
#include "engine/embedding.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/cost.h"
#include "engine/quantize.h"
#include "engine/thread_pool.h"

namespace dynaquant {
namespace {

TableRow table_row(const EmbeddingTable& table, std::int32_t index, float weight) {
  const std::size_t row = static_cast<std::size_t>(index);
  const std::size_t bit = row * table.width * static_cast<std::size_t>(table.bits);
  TableRow result = {static_cast<const std::uint8_t*>(table.data) + bit / 8, table.bits,
                     bit % 8 != 0, weight, -0.0f};  // adding -0.0 keeps even the sign of a zero
  if (table.affines != nullptr) {
    result.scale = table.affines[2 * row] * weight;
    result.offset = table.affines[2 * row + 1] * weight;
  }
  return result;
}

// Shares out `count` results that need `rows` rows in all. The estimate of ten floats a nanosecond
// is too fast for large tables, whose rows come from memory.
template <typename Body>
void share(std::size_t count, std::size_t rows, std::size_t width, const Body& body) {
  const double ns = static_cast<double>(rows) * static_cast<double>(width) / 10;
  Team team(threads_for(ns), static_cast<std::uint64_t>(ns));
  constexpr std::size_t kPieces = 64;
  const std::size_t grain = ns < kWorthSharingNs ? count : (count + kPieces - 1) / kPieces;
  team.run(count, grain, [&](std::size_t, std::size_t begin, std::size_t end) noexcept {
    for (std::size_t i = begin; i < end; ++i) body(i);
  });
}

}  // namespace

bool all_inside(const Indices& indices, std::size_t rows) {
  return std::all_of(indices.data, indices.data + indices.count, [rows](std::int32_t index) {
    return index >= 0 && static_cast<std::size_t>(index) < rows;
  });
}

void lookup(const KernelTable& kernels, const EmbeddingTable& table, const Indices& indices,
            float* out) {
  share(indices.count, indices.count, table.width, [&](std::size_t i) {
    const TableRow row = table_row(table, indices.data[i], 1.0f);
    float* to = out + i * table.width;
    if (table.bits == 32) {
      std::memcpy(to, row.data, table.width * sizeof(float));
    } else {
      kernels.gather_row(row, table.width, Gather::kSet, to);
    }
  });
}

void lookup_bags(const KernelTable& kernels, const EmbeddingTable& table, const Indices& indices,
                 const Bags& bags, float* out) {
  share(bags.count, indices.count, table.width, [&](std::size_t bag) {
    float* to = out + bag * table.width;
    std::fill(to, to + table.width, 0.0f);
    std::size_t members = 0;
    const auto end = static_cast<std::size_t>(bags.bounds[bag + 1]);
    for (auto i = static_cast<std::size_t>(bags.bounds[bag]); i < end; ++i) {
      if (indices.data[i] == bags.padding) continue;
      const float weight = bags.weights == nullptr ? 1.0f : bags.weights[i];
      const Gather gather = bags.mode != BagMode::kMax ? Gather::kAdd
                            : members == 0             ? Gather::kSet
                                                       : Gather::kMax;
      kernels.gather_row(table_row(table, indices.data[i], weight), table.width, gather, to);
      ++members;
    }
    if (bags.mode == BagMode::kMean && members > 1) {
      const float divisor = static_cast<float>(members);
      for (std::size_t i = 0; i < table.width; ++i) to[i] /= divisor;
    }
  });
}

bool quantize_table(const float* weight, std::size_t rows, std::size_t width,
                    const QuantizedTable& out) {
  const float levels = static_cast<float>((1 << out.bits) - 1);
  std::size_t position = 0;
  for (std::size_t row = 0; row < rows; ++row, weight += width) {
    float low = weight[0], high = weight[0];
    for (std::size_t i = 0; i < width; ++i) {
      if (!std::isfinite(weight[i])) return false;
      low = std::min(low, weight[i]);
      high = std::max(high, weight[i]);
    }
    float scale = (high - low) / levels;
    if (!std::isfinite(scale)) return false;
    if (!(scale > 0x1p-23f)) scale = 1.0f;
    const float zero_point = -low / scale, inverse = 1.0f / scale;
    for (std::size_t i = 0; i < width; ++i, ++position) {
      const float q = std::clamp(round_to_even(weight[i] * inverse + zero_point), 0.0f, levels);
      const auto byte = static_cast<std::uint8_t>(q);
      if (out.bits == 8) {
        out.data[position] = byte;
      } else {
        out.data[position / 2] |= static_cast<std::uint8_t>(byte << (position % 2 * 4));
      }
    }
    out.scales[row] = scale;
    out.zero_points[row] = zero_point;
  }
  return true;
}

}  // namespace dynaquant
