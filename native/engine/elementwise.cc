// SPDX-License-Identifier: MIT
#include "engine/elementwise.h"

#include <algorithm>

#include "engine/cost.h"
#include "engine/thread_pool.h"

namespace dynaquant {
namespace {

// A thread claims so many elements, at least. Long rows are cut in pieces of as many.
constexpr std::size_t kGrain = 4096;

// Nanoseconds an element on one thread; the estimate is low.
constexpr double kExactNs = 0.1, kFunctionNs = 0.4;
double element_ns(Unary function) { return function < Unary::kExp ? kExactNs : kFunctionNs; }

// Part of the result: rows of a plane, which is the last two dimensions, or a piece of one row.
struct Block {
  std::size_t offsets[kMaxOperands];  // of the operands
  std::size_t out;
  std::size_t rows;
  std::size_t columns;
};

// The last two dimensions, and how rows are cut in pieces.
class Planes {
 public:
  explicit Planes(const Axes& axes)
      : axes_(axes),
        last_(axes.axes[axes.rank - 1]),
        rows_(axes.rank < 2 ? Axis{1, {}} : axes.axes[axes.rank - 2]),
        pieces_((last_.size + kGrain - 1) / kGrain) {
    for (std::size_t i = 0; i + 2 < axes.rank; ++i) planes_ *= axes.axes[i].size;
  }

  std::size_t row_stride(std::size_t operand) const { return rows_.strides[operand]; }
  bool repeats(std::size_t operand) const { return last_.strides[operand] == 0; }
  std::size_t elements() const { return planes_ * rows_.size * last_.size; }

  // Calls body(block) for all blocks, on several threads if that is worth it.
  template <typename Body>
  void for_each_block(double element_ns, const Body& body) const {
    const double ns = element_ns * static_cast<double>(elements());
    Team team(threads_for(ns), static_cast<std::uint64_t>(ns));
    const std::size_t grain = std::max<std::size_t>(1, kGrain / last_.size);
    team.run(planes_ * rows_.size * pieces_, grain,
             [&](std::size_t, std::size_t begin, std::size_t end) noexcept {
               while (begin < end) {
                 const std::size_t row = begin / pieces_ % rows_.size;
                 const std::size_t rows = pieces_ > 1 ? 1 : std::min(end - begin, rows_.size - row);
                 body(block_at(begin / pieces_, begin % pieces_ * kGrain, rows));
                 begin += rows;
               }
             });
  }

 private:
  // `row` counts through all planes.
  Block block_at(std::size_t row, std::size_t column, std::size_t rows) const {
    const std::size_t columns = pieces_ > 1 ? std::min(kGrain, last_.size - column) : last_.size;
    Block block = {{}, row * last_.size + column, rows, columns};
    move(block, last_, column);
    move(block, rows_, row % rows_.size);
    std::size_t plane = row / rows_.size;
    for (std::size_t i = axes_.rank; i-- > 2;) {
      const Axis& axis = axes_.axes[i - 2];
      move(block, axis, plane % axis.size);
      plane /= axis.size;
    }
    return block;
  }
  static void move(Block& block, const Axis& axis, std::size_t by) {
    for (std::size_t i = 0; i < kMaxOperands; ++i) block.offsets[i] += by * axis.strides[i];
  }

  const Axes& axes_;
  const Axis last_;
  const Axis rows_;
  const std::size_t pieces_;  // of a row
  std::size_t planes_ = 1;
};

// The rows of a block of the i-th operand.
template <typename Element>
Operand<Element> operand(const Planes& planes, const Block& block, std::size_t i,
                         const Element* data) {
  return {data + block.offsets[i], planes.row_stride(i), planes.repeats(i)};
}

template <typename Kernel, typename Result>
void run_binary(Kernel kernel, const float* a, const float* b, const Axes& axes, Result* out) {
  const Planes planes(axes);
  planes.for_each_block(kExactNs, [&](const Block& block) noexcept {
    kernel(operand(planes, block, 0, a), operand(planes, block, 1, b), block.rows, block.columns,
           out + block.out);
  });
}

}  // namespace

void apply(const KernelTable& kernels, Unary function, const float* x, std::size_t count,
           const Numbers& numbers, float* out) {
  const auto kernel = kernels.unary[static_cast<std::size_t>(function)];
  const double ns = element_ns(function) * static_cast<double>(count);
  Team team(threads_for(ns), static_cast<std::uint64_t>(ns));
  team.run(count, kGrain, [&](std::size_t, std::size_t begin, std::size_t end) noexcept {
    kernel(x + begin, end - begin, numbers, out + begin);
  });
}

void apply(const KernelTable& kernels, Binary function, const float* a, const float* b,
           const Axes& axes, float* out) {
  run_binary(kernels.binary[static_cast<std::size_t>(function)], a, b, axes, out);
}

void compare(const KernelTable& kernels, Comparison function, const float* a, const float* b,
             const Axes& axes, std::uint8_t* out) {
  run_binary(kernels.comparison[static_cast<std::size_t>(function)], a, b, axes, out);
}

void select(const KernelTable& kernels, const std::uint8_t* condition, const float* yes,
            const float* no, const Axes& axes, float* out) {
  const Planes planes(axes);
  planes.for_each_block(kExactNs, [&](const Block& block) noexcept {
    kernels.select(operand(planes, block, 0, condition), operand(planes, block, 1, yes),
                   operand(planes, block, 2, no), block.rows, block.columns, out + block.out);
  });
}

}  // namespace dynaquant
