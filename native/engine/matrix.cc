// SPDX-License-Identifier: MIT
#include "engine/matrix.h"

#include <algorithm>
#include <cmath>

namespace dynaquant {
namespace {

constexpr std::size_t kQuadBytes = kPanelColumns * kQuad;

// The quads of a panel from `begin` on that may be added in int16 lanes: their number, at most 255.
// 0 where the first of them overflows by itself.
std::size_t chain_length(const std::int8_t* quads, std::size_t count, const LaneLimits& limits) {
  constexpr std::size_t kLanes = kPanelColumns * 2;
  std::int16_t positive[kLanes] = {}, negative[kLanes] = {};
  for (std::size_t quad = 0; quad < std::min<std::size_t>(count, 255); ++quad) {
    int over = 0;
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const int a = quads[quad * kQuadBytes + 2 * lane];
      const int b = quads[quad * kQuadBytes + 2 * lane + 1];
      positive[lane] = static_cast<std::int16_t>(positive[lane] + std::max(a, 0) + std::max(b, 0));
      negative[lane] = static_cast<std::int16_t>(negative[lane] - std::min(a, 0) - std::min(b, 0));
      over |= (positive[lane] > limits.positive) | (negative[lane] > limits.negative);
    }
    if (over) return quad;
  }
  return std::min<std::size_t>(count, 255);
}

}  // namespace

template <typename Weight, typename Panels>
PlainMatrix<Weight, Panels>::PlainMatrix(const Weight* weight, const float* bias,
                                         const GateLayout& layout, std::size_t depth)
    : depth_(depth), layout_(layout), weights_(layout.columns() * depth), bias_(layout.columns()) {
  for (std::size_t column = 0; column < layout.columns(); ++column) {
    const std::size_t row = layout.row_of(column);
    const bool padding = row == layout.rows();
    for (std::size_t k = 0; k < depth; ++k) {
      weights_.data()[place(column, k)] = padding ? Weight{0} : weight[row * depth + k];
    }
    bias_.data()[column] = padding || bias == nullptr ? 0.0f : bias[row];
  }
  all_ = slice(0, layout.panels());
}

template <typename Weight, typename Panels>
Panels PlainMatrix<Weight, Panels>::slice(std::size_t begin, std::size_t end) const {
  return {weights_.data() + begin * kPanelColumns * depth_, bias_.data() + begin * kPanelColumns,
          depth_, end - begin};
}

template <typename Weight, typename Panels>
std::size_t PlainMatrix<Weight, Panels>::place(std::size_t column, std::size_t k) const {
  return (column / kPanelColumns * depth_ + k) * kPanelColumns + column % kPanelColumns;
}

template <typename Weight, typename Panels>
void PlainMatrix<Weight, Panels>::unpack(Weight* weight) const {
  for (std::size_t column = 0; column < layout_.columns(); ++column) {
    const std::size_t row = layout_.row_of(column);
    if (row == layout_.rows()) continue;
    for (std::size_t k = 0; k < depth_; ++k) {
      weight[row * depth_ + k] = weights_.data()[place(column, k)];
    }
  }
}

template class PlainMatrix<float, FloatPanels>;
template class PlainMatrix<std::uint16_t, HalfPanels>;

Int8Matrix::Int8Matrix(const KernelTable& kernels, const ActivationMode& mode,
                       const Int8Weight& source, const GateLayout& layout, std::size_t depth)
    : mode_(mode),
      depth_(depth),
      quads_((depth + kQuad - 1) / kQuad),
      layout_(layout),
      // One stream of addresses, which a tile's instructions reach by constants, comes faster than
      // four: for one row by 1 to 3 % at H = 80 to 256 and 6 % at 4 MB, but 3 % slower at H = 512.
      // A 6 x 1 tile, as tables without `wide_tiles` have, would use every fourth line only.
      interleaved_(kernels.wide_tiles),
      weights_((layout.panels() + layout.block() - 1) / layout.block() * layout.block() * quads_ *
               kQuadBytes),
      column_sums_(layout.columns()),
      scales_(layout.columns()),
      bias_(layout.columns()) {
  std::fill_n(weights_.data(), weights_.size(), std::int8_t{0});
  for (std::size_t column = 0; column < layout.columns(); ++column) {
    const std::size_t row = layout.row_of(column);
    const bool padding = row == layout.rows();
    std::int32_t sum = 0;
    if (!padding) {
      for (std::size_t k = 0; k < depth; ++k) {
        const std::int8_t w = source.weight[row * depth + k];
        weights_.data()[place(column, k)] = w;
        sum += w;
      }
    }
    column_sums_.data()[column] = sum;
    scales_.data()[column] = padding ? 1.0f : source.scales[source.scale_count == 1 ? 0 : row];
    bias_.data()[column] = padding || source.bias == nullptr ? -0.0f : source.bias[row];
    if (!padding) {
      largest_scale_ = std::max<double>(largest_scale_, scales_.data()[column]);
      largest_bias_ = std::max<double>(largest_bias_, std::fabs(bias_.data()[column]));
    }
  }
  if (kernels.planned) plan_panels();
  all_ = slice(0, layout.panels());
}

// Chains cost three more instructions and an unpredictable branch each: below a mean of 2.25 quads,
// or where a panel is too shallow to have several, the plain form is as fast (measured).
void Int8Matrix::plan_panels() {
  constexpr double kWorthwhile = 2.25;
  constexpr std::size_t kShallow = 16;
  const LaneLimits limits = mode_.reduce_range ? kReducedLimits : kFullLimits;
  plans_.reserve(layout_.panels());
  for (std::size_t panel = 0; panel < layout_.panels(); ++panel) {
    const std::int8_t* quads = weights_.data() + panel * quads_ * kQuadBytes;
    const std::size_t first = chains_.size();
    Products products = Products::kChains;
    for (std::size_t done = 0; done < quads_ && products == Products::kChains;) {
      const std::size_t length = chain_length(quads + done * kQuadBytes, quads_ - done, limits);
      if (length == 0) products = Products::kWide;
      chains_.push_back(static_cast<std::uint8_t>(length));
      done += length;
    }
    const double count = static_cast<double>(chains_.size() - first);
    if (products == Products::kChains &&
        (quads_ < kShallow || static_cast<double>(quads_) < kWorthwhile * count)) {
      products = Products::kPairs;
    }
    if (products != Products::kChains) chains_.resize(first);
    plans_.push_back({products, static_cast<std::uint32_t>(first)});
  }
}

Int8Panels Int8Matrix::slice(std::size_t begin, std::size_t end) const {
  const std::size_t column = begin * kPanelColumns;
  const std::size_t panel_bytes = quads_ * kQuadBytes;
  return {weights_.data() + begin * panel_bytes,
          layout_.block(),
          column_sums_.data() + column,
          scales_.data() + column,
          bias_.data() + column,
          plans_.empty() ? nullptr : plans_.data() + begin,
          chains_.data(),
          quads_,
          end - begin};
}

std::size_t Int8Matrix::place(std::size_t column, std::size_t k) const {
  const std::size_t panel = column / kPanelColumns, quad = k / kQuad;
  const std::size_t block = layout_.block(), in_block = panel % block;
  const std::size_t line = (panel - in_block) * quads_ +
                           (interleaved_ ? quad * block + in_block : in_block * quads_ + quad);
  return line * kQuadBytes + column % kPanelColumns * kQuad + k % kQuad;
}

std::size_t Int8Matrix::bytes() const {
  return weights_.bytes() + column_sums_.bytes() + scales_.bytes() + bias_.bytes() +
         plans_.capacity() * sizeof(PanelPlan) + chains_.capacity();
}

void Int8Matrix::unpack(std::int8_t* weight) const {
  for (std::size_t column = 0; column < layout_.columns(); ++column) {
    const std::size_t row = layout_.row_of(column);
    if (row == layout_.rows()) continue;
    for (std::size_t k = 0; k < depth_; ++k) {
      weight[row * depth_ + k] = weights_.data()[place(column, k)];
    }
  }
}

Int8Matrix Int8Matrix::diagonal(const KernelTable& kernels, std::size_t copies) const {
  const GateLayout layout = {layout_.gates, layout_.units * copies};
  const std::size_t depth = depth_ * copies;
  std::vector<std::int8_t> own(layout_.rows() * depth_), weight(layout.rows() * depth);
  std::vector<float> scales(layout.rows()), bias(layout.rows());
  unpack(own.data());
  for (std::size_t column = 0; column < layout_.columns(); ++column) {
    const std::size_t from = layout_.row_of(column);
    if (from == layout_.rows()) continue;
    for (std::size_t copy = 0; copy < copies; ++copy) {
      // Of each gate, the copies' units one after the other.
      const std::size_t row =
          (from / layout_.units * copies + copy) * layout_.units + from % layout_.units;
      std::copy_n(&own[from * depth_], depth_, &weight[row * depth + copy * depth_]);
      scales[row] = scales_.data()[column];
      bias[row] = bias_.data()[column];
    }
  }
  return {
      kernels, mode_, {weight.data(), scales.data(), scales.size(), bias.data()}, layout, depth};
}

double Int8Matrix::mean_chain() const {
  std::size_t sums = chains_.size();
  for (const PanelPlan& plan : plans_) sums += plan.products == Products::kChains ? 0 : quads_;
  return sums == 0 ? 1 : static_cast<double>(layout_.panels() * quads_) / static_cast<double>(sums);
}

double Int8Matrix::bound(double activation_scale) const {
  return static_cast<double>(depth_) * (mode_.levels() * 128.0) * activation_scale *
             largest_scale_ +
         largest_bias_;
}

}  // namespace dynaquant
