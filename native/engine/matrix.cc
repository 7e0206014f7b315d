// SPDX-License-Identifier: MIT
#include "engine/matrix.h"

#include <algorithm>
#include <cmath>

namespace dynaquant {

template <typename Weight, typename Panels>
PlainMatrix<Weight, Panels>::PlainMatrix(const Weight* weight, const float* bias,
                                         const GateLayout& layout, std::size_t depth)
    : depth_(depth),
      layout_(layout),
      weights_(count_of(layout.columns(), depth)),
      bias_(layout.columns()) {
  std::fill_n(weights_.data(), weights_.size(), Weight{0});
  for (std::size_t column = 0; column < layout.columns(); ++column) {
    const std::size_t row = layout.row_of(column);
    const bool padding = row == layout.rows();
    if (!padding) pack_column(weight + row * depth, depth, column, weights_.data());
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
void PlainMatrix<Weight, Panels>::unpack(Weight* weight) const {
  for (std::size_t column = 0; column < layout_.columns(); ++column) {
    const std::size_t row = layout_.row_of(column);
    if (row == layout_.rows()) continue;
    unpack_column(weights_.data(), depth_, column, weight + row * depth_);
  }
}

template class PlainMatrix<float, FloatPanels>;
template class PlainMatrix<std::uint16_t, HalfPanels>;

Int8Matrix::Int8Matrix(const KernelTable& kernels, const ActivationMode& mode,
                       const Int8Weight& source, const GateLayout& layout, std::size_t depth)
    : mode_(mode),
      layout_(layout),
      packing_{kernels.layout, depth, layout.panels(), layout.block()},
      weights_(packing_.bytes()),
      column_sums_(layout.columns()),
      scales_(layout.columns()),
      bias_(layout.columns()) {
  packing_.clear(weights_.data());
  for (std::size_t column = 0; column < layout.columns(); ++column) {
    const std::size_t row = layout.row_of(column);
    const bool padding = row == layout.rows();
    column_sums_.data()[column] =
        padding ? 0 : packing_.pack(source.weight + row * depth, column, weights_.data());
    scales_.data()[column] = padding ? 1.0f : source.scales[source.scale_count == 1 ? 0 : row];
    bias_.data()[column] = padding || source.bias == nullptr ? -0.0f : source.bias[row];
    if (!padding) {
      largest_scale_ = std::max<double>(largest_scale_, scales_.data()[column]);
      largest_bias_ = std::max<double>(largest_bias_, std::fabs(bias_.data()[column]));
    }
  }
  if (kernels.layout.planned) plan_panels();
  all_ = slice(0, layout.panels());
}

void Int8Matrix::plan_panels() {
  const LaneLimits limits = mode_.reduce_range ? kReducedLimits : kFullLimits;
  plans_.reserve(layout_.panels());
  for (std::size_t panel = 0; panel < layout_.panels(); ++panel) {
    const std::size_t first = chains_.size();
    chains_.resize(first + packing_.quads());
    Products products;
    const std::size_t count =
        packing_.plan(weights_.data(), panel, limits, &products, chains_.data() + first);
    chains_.resize(first + count);
    plans_.push_back({products, static_cast<std::uint32_t>(first)});
  }
  chains_.shrink_to_fit();
}

Int8Panels Int8Matrix::slice(std::size_t begin, std::size_t end) const {
  const std::size_t column = begin * kPanelColumns;
  return {weights_.data() + begin * packing_.quads() * kQuadBytes,
          layout_.block(),
          column_sums_.data() + column,
          scales_.data() + column,
          bias_.data() + column,
          plans_.empty() ? nullptr : plans_.data() + begin,
          chains_.data(),
          packing_.quads(),
          end - begin};
}

std::size_t Int8Matrix::bytes() const {
  return weights_.bytes() + column_sums_.bytes() + scales_.bytes() + bias_.bytes() +
         plans_.capacity() * sizeof(PanelPlan) + chains_.capacity();
}

void Int8Matrix::unpack(std::int8_t* weight) const {
  for (std::size_t column = 0; column < layout_.columns(); ++column) {
    const std::size_t row = layout_.row_of(column);
    if (row == layout_.rows()) continue;
    packing_.unpack(weights_.data(), column, weight + row * depth());
  }
}

Int8Matrix Int8Matrix::diagonal(const KernelTable& kernels, std::size_t copies) const {
  const GateLayout layout = {layout_.gates, layout_.units * copies};
  const std::size_t diagonal_depth = depth() * copies;
  std::vector<std::int8_t> own(layout_.rows() * depth()), weight(layout.rows() * diagonal_depth);
  std::vector<float> scales(layout.rows()), bias(layout.rows());
  unpack(own.data());
  for (std::size_t column = 0; column < layout_.columns(); ++column) {
    const std::size_t from = layout_.row_of(column);
    if (from == layout_.rows()) continue;
    for (std::size_t copy = 0; copy < copies; ++copy) {
      // The rows of a gate: the first copy's units, then the second's, ...
      const std::size_t row =
          (from / layout_.units * copies + copy) * layout_.units + from % layout_.units;
      std::copy_n(&own[from * depth()], depth(), &weight[row * diagonal_depth + copy * depth()]);
      scales[row] = scales_.data()[column];
      bias[row] = bias_.data()[column];
    }
  }
  return {kernels,
          mode_,
          {weight.data(), scales.data(), scales.size(), bias.data()},
          layout,
          diagonal_depth};
}

double Int8Matrix::mean_chain() const {
  const std::size_t quads = packing_.quads();
  std::size_t sums = chains_.size();
  for (const PanelPlan& plan : plans_) sums += plan.products == Products::kChains ? 0 : quads;
  if (sums == 0) return 1;
  return static_cast<double>(layout_.panels() * quads) / static_cast<double>(sums);
}

double Int8Matrix::bound(double activation_scale) const {
  return static_cast<double>(depth()) * (mode_.levels() * 128.0) * activation_scale *
             largest_scale_ +
         largest_bias_;
}

}  // namespace dynaquant
