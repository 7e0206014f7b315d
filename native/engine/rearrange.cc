// SPDX-License-Identifier: MIT
#include "engine/rearrange.h"

#include <algorithm>
#include <cstdint>

#include "engine/cost.h"
#include "engine/thread_pool.h"

namespace dynaquant {
namespace {

// Elements of one call of the kernel, about: few enough to share them out, many enough that a call
// costs nothing.
constexpr std::size_t kPart = 8192;

// What a call of the kernel takes: two dimensions, of which the longer may be cut in parts. The
// other dimensions are walked.
struct Plan {
  Moves whole;
  bool cuts_rows;
  std::size_t length;  // of a part, in rows or columns
  std::size_t parts;
  MovedDim outer[kMaxDims];
  std::size_t outer_rank;
  std::size_t outer_count;
};

void cut(Plan& plan) {
  const Moves& m = plan.whole;
  plan.cuts_rows = m.rows > m.columns;
  const std::size_t longer = std::max(m.rows, m.columns), shorter = std::min(m.rows, m.columns);
  plan.length = (kPart / shorter / 64 + 1) * 64;  // whole blocks of a transpose
  plan.parts = (longer - 1) / plan.length + 1;
}

Plan plan_of(const MovedDim* dims, std::size_t rank) {
  constexpr MovedDim kOne = {1, 0, 1};
  Plan plan = {};
  // Columns lie side by side in `in`, if any dimension does; rows do in `out`, if they do not.
  std::size_t column = rank;
  for (std::size_t i = 0; i < rank; ++i) {
    if (dims[i].in == 1) column = i;
  }
  if (column == rank && rank > 0) column = rank - 1;
  std::size_t row = rank;
  for (std::size_t i = 0; i < rank; ++i) {
    if (i != column) row = i;
  }
  plan.outer_count = 1;
  for (std::size_t i = 0; i < rank; ++i) {
    if (i == row || i == column) continue;
    plan.outer[plan.outer_rank++] = dims[i];
    plan.outer_count *= dims[i].size;
  }
  const MovedDim& r = row < rank ? dims[row] : kOne;
  const MovedDim& c = column < rank ? dims[column] : kOne;
  plan.whole = {r.size, c.size, r.in, c.in, r.out, c.out};
  cut(plan);
  return plan;
}

// Where the `index`-th call of the outer dimensions begins.
struct Place {
  std::ptrdiff_t in;
  std::ptrdiff_t out;
};
Place place_of(const Plan& plan, std::size_t index) {
  Place place = {0, 0};
  for (std::size_t i = plan.outer_rank; i-- > 0;) {
    const MovedDim& dim = plan.outer[i];
    const std::ptrdiff_t at = static_cast<std::ptrdiff_t>(index % dim.size);
    place.in += at * dim.in;
    place.out += at * dim.out;
    index /= dim.size;
  }
  return place;
}

}  // namespace

Status rearrange(const KernelTable& kernels, const float* in, const MovedDim* dims,
                 std::size_t rank, float* out) {
  const Plan plan = plan_of(dims, rank);
  const std::size_t each = plan.whole.rows * plan.whole.columns;
  const double ns = static_cast<double>(each) * static_cast<double>(plan.outer_count) / 16;
  Team team(threads_for(ns), static_cast<std::uint64_t>(ns));
  const std::size_t grain = grain_for(ns, plan.outer_count * plan.parts, kPart / each + 1);
  team.run(plan.outer_count * plan.parts, grain,
           [&](std::size_t, std::size_t begin, std::size_t end) noexcept {
             for (std::size_t i = begin; i < end && !team.stopped(); ++i) {
               const Place place = place_of(plan, i / plan.parts);
               const std::size_t first = i % plan.parts * plan.length;
               Moves moves = plan.whole;
               std::size_t& count = plan.cuts_rows ? moves.rows : moves.columns;
               count = std::min(count - first, plan.length);
               const std::ptrdiff_t at = static_cast<std::ptrdiff_t>(first);
               kernels.move(
                   in + place.in + at * (plan.cuts_rows ? moves.in_row : moves.in_column), moves,
                   out + place.out + at * (plan.cuts_rows ? moves.out_row : moves.out_column));
             }
           });
  return team.stopped() ? Status::kStopped : Status::kOk;
}

}  // namespace dynaquant
