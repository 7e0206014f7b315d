// SPDX-License-Identifier: MIT
#include "engine/convolution.h"

#include <algorithm>
#include <map>
#include <utility>

#include "engine/cost.h"
#include "engine/padded_planes.h"
#include "engine/scratch.h"
#include "engine/thread_pool.h"

namespace dynaquant {

std::size_t convolved(const ConvolutionAxis& axis, std::size_t size) {
  const std::size_t padded = axis.before + size + axis.after;
  const std::size_t reach = axis.dilation * (axis.kernel - 1) + 1;
  return padded < reach ? 0 : (padded - reach) / axis.stride + 1;
}

std::size_t convolved_transposed(const ConvolutionAxis& axis, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t all =
      (size - 1) * axis.stride + axis.dilation * (axis.kernel - 1) + axis.output_padding + 1;
  const std::size_t cut = axis.before + axis.after;
  return all > cut ? all - cut : 0;
}

namespace {

std::size_t round_up(std::size_t count, std::size_t unit) {
  return (count + unit - 1) / unit * unit;
}

// Narrower groups have panels as wide as they are, because most lanes of a whole one would be idle.
constexpr std::size_t kWide = 8;

}  // namespace

Convolution::Convolution(const KernelTable& kernels, const ConvolutionSizes& sizes,
                         const float* weight, const float* bias)
    : kernels_(kernels),
      sizes_(sizes),
      width_(group_outputs() < kWide ? group_outputs() : kPanelColumns),
      parts_(parts()) {
  const Part& last = parts_.back();
  weights_ =
      AlignedBuffer<float>(last.weights_at + count_of(sizes_.groups, last.taps, padded_outputs()));
  bias_ = AlignedBuffer<float>(count_of(sizes_.groups, padded_outputs()));
  std::fill_n(weights_.data(), weights_.size(), 0.0f);
  std::fill_n(bias_.data(), bias_.size(), 0.0f);
  for (const Part& part : parts_) pack(part, weight);
  for (std::size_t o = 0; bias != nullptr && o < sizes_.out_channels; ++o) {
    bias_.data()[o / group_outputs() * padded_outputs() + o % group_outputs()] = bias[o];
  }
}

std::size_t Convolution::padded_outputs() const { return round_up(group_outputs(), width_); }

PlaneSizes Convolution::out_planes(const PlaneSizes& in) const {
  const auto size = sizes_.transposed ? convolved_transposed : convolved;
  return {in.batch, sizes_.transposed ? in.rows : size(sizes_.rows, in.rows),
          size(sizes_.columns, in.columns)};
}

double Convolution::row_ns() const {
  const double taps = static_cast<double>(sizes_.rows.kernel * sizes_.columns.kernel) /
                      static_cast<double>(sizes_.transposed ? sizes_.columns.stride : 1);
  return static_cast<double>(sizes_.out_channels * group_inputs()) * taps / 50;
}

std::vector<Convolution::Part> Convolution::parts() const {
  const ConvolutionAxis& axis = sizes_.columns;
  std::map<std::size_t, std::vector<std::size_t>> columns;  // of each phase
  for (std::size_t k = 0; k < axis.kernel; ++k) {
    columns[sizes_.transposed ? k * axis.dilation % axis.stride : 0].push_back(k);
  }
  std::vector<Part> parts;
  std::size_t at = 0;
  for (auto& [phase, taps] : columns) {
    Part& part = parts.emplace_back();
    part.phase = phase;
    part.columns = std::move(taps);
    part.rows = sizes_.rows.kernel;
    part.taps = group_inputs() * part.rows * part.columns.size();
    part.weights_at = at;
    at += sizes_.groups * part.taps * padded_outputs();
  }
  return parts;
}

void Convolution::pack(const Part& part, const float* weight) {
  const std::size_t kernel = sizes_.columns.kernel, inputs = group_inputs(),
                    outputs = group_outputs();
  float* group = weights_.data() + part.weights_at;
  for (std::size_t g = 0; g < sizes_.groups; ++g, group += part.taps * padded_outputs()) {
    for (std::size_t o = 0; o < outputs; ++o) {
      float* to = group + o / width_ * width_ * part.taps + o % width_;
      for (std::size_t c = 0; c < inputs; ++c) {
        const std::size_t plane =
            sizes_.transposed ? (g * inputs + c) * outputs + o : (g * outputs + o) * inputs + c;
        for (std::size_t row = 0; row < part.rows; ++row) {
          for (const std::size_t column : part.columns) {
            *to = weight[(plane * part.rows + row) * kernel + column];
            to += width_;
          }
        }
      }
    }
  }
}

// One forward.
class ConvolutionCall {
 public:
  ConvolutionCall(const Convolution& convolution, const float* x, const PlaneSizes& in, float* out)
      : convolution_(convolution),
        sizes_(convolution.sizes_),
        x_(x),
        in_(in),
        out_planes_(convolution.out_planes(in)),
        out_(out),
        by_place_(is_by_place()),
        joins_(!by_place_ && out_planes_.rows > 1 && out_planes_.columns < kShortRow),
        layout_(layout()),
        items_(items()) {}

  Status run();

 private:
  // Rows of fewer positions are computed as one, with what lies between them, and then taken apart:
  // 28 positions are not even two vectors.
  static constexpr std::size_t kShortRow = 128;
  // Places of a unit.
  static constexpr std::size_t kPlaces = 48;

  // The positions of a part in a row: `count` outputs, every `step` from `first` on.
  struct Positions {
    std::size_t first;
    std::size_t step;
    std::size_t count;
    std::size_t base;  // where the first one's taps begin in a row
  };
  struct Memory {
    Memory(Scratch& scratch, const ConvolutionCall& call, std::size_t participants)
        : planes(scratch.take<float>(call.layout_.copies ? call.all_floats() : 0)),
          offsets(scratch.take<std::size_t>(call.most_taps())),
          joined(scratch.take<float>(call.joins_ ? count_of(participants, call.joined_floats())
                                                 : 0)) {}
    float* planes;
    std::size_t* offsets;
    float* joined;  // rows before they are taken apart, of each participant
  };
  // What the units of a part share.
  struct Work {
    const Convolution::Part& part;
    Positions positions;
    const float* planes;
    const Memory& memory;
    std::size_t first_item;
    std::size_t items;
    std::size_t block;   // positions of a unit
    std::size_t blocks;  // of all positions that a unit may be of
    std::size_t panels;  // of a unit

    std::size_t block_at(std::size_t begin, std::size_t end) const {
      return std::min(block, end - begin);
    }
  };

  std::size_t lines() const { return out_planes_.rows; }
  std::size_t item_floats() const { return sizes_.in_channels * layout_.plane; }
  std::size_t all_floats() const { return count_of(items_, sizes_.in_channels, layout_.plane); }
  std::size_t most_taps() const;
  std::size_t run_block() const;
  std::size_t run_length(const Positions& positions) const;
  std::size_t joined_floats() const { return convolution_.width_ * run_block(); }
  std::size_t panels() const { return convolution_.padded_outputs() / convolution_.width_; }
  bool is_by_place() const;
  PlaneLayout layout() const;
  std::size_t items() const;
  Positions positions_of(const Convolution::Part& part) const;
  void fill_offsets(const Convolution::Part& part, std::size_t* offsets) const;
  void fill_with_bias(Team& team) const;
  void copy_items(Team& team, std::size_t first, std::size_t items, float* planes) const;
  void run_part(Team& team, Work work) const;
  TapPanels taps_of(const Work& work, std::size_t group, std::size_t panel) const;
  const float* input_of(const Work& work, std::size_t item, std::size_t group) const;
  float* output_of(const Work& work, std::size_t item, std::size_t channel) const;
  void run_unit(const Work& work, std::size_t unit, std::size_t participant) const;
  void place_unit(const Work& work, std::size_t unit) const;
  void take_apart(const float* joined, std::size_t begin, std::size_t count, float* out) const;

  const Convolution& convolution_;
  const ConvolutionSizes& sizes_;
  const float* x_;
  PlaneSizes in_;
  PlaneSizes out_planes_;
  float* out_;
  bool by_place_;
  bool joins_;
  PlaneLayout layout_;
  std::size_t items_;  // of the batch, that are computed together
};

// Whether lanes are channels rather than positions: what takes fewer of them. Results of channels
// are written one by one, which takes a lane's time 32 times (Zen 5).
bool ConvolutionCall::is_by_place() const {
  if (convolution_.width_ < kPanelColumns) return false;
  const double taps = static_cast<double>(most_taps());
  const std::size_t columns = positions_of(convolution_.parts_.front()).count,
                    outputs = convolution_.group_outputs();
  const double run = static_cast<double>(outputs * padded_columns(columns)) * taps;
  const double place =
      static_cast<double>(columns) * (static_cast<double>(convolution_.padded_outputs()) * taps +
                                      static_cast<double>(32 * outputs));
  return place < run;
}

std::size_t ConvolutionCall::most_taps() const {
  std::size_t most = 0;
  for (const Convolution::Part& part : convolution_.parts_) most = std::max(most, part.taps);
  return most;
}

// Positions whose taps fit the nearest cache, or their results if rows are joined.
std::size_t ConvolutionCall::run_block() const {
  constexpr std::size_t kNear = 6 * 1024, kLeast = 64, kMostJoined = 1024;
  const std::size_t block = round_up(std::max(kNear / convolution_.group_inputs(), kLeast), kLeast);
  return joins_ ? std::min(block, kMostJoined) : block;
}

// Positions of a run: of a row, or of all rows.
std::size_t ConvolutionCall::run_length(const Positions& positions) const {
  return joins_ ? (lines() - 1) * layout_.pitch + positions.count : positions.count;
}

PlaneLayout ConvolutionCall::layout() const {
  const ConvolutionAxis& rows = sizes_.rows;
  ConvolutionAxis columns = sizes_.columns;
  std::size_t phases = columns.stride;
  if (sizes_.transposed) {
    // Position m of a phase takes the inputs m - q, q from 0 to `reach`.
    const std::size_t reach = columns.dilation * (columns.kernel - 1) / columns.stride;
    const std::size_t last = (out_planes_.columns + columns.before - 1) / columns.stride;
    columns.before = reach;
    columns.after = last < in_.columns ? 0 : last + 1 - in_.columns;
    phases = 1;
  }
  return PlaneLayout({in_.rows, rows.before, rows.after},
                     {in_.columns, columns.before, columns.after}, by_place_ ? 1 : rows.stride,
                     by_place_ ? 1 : phases, sizes_.padding_mode);
}

// As many as fit what a thread keeps, if they are copied.
std::size_t ConvolutionCall::items() const {
  constexpr std::size_t kFloats = 24 * 1024;
  if (!layout_.copies) return in_.batch;
  const std::size_t fit = kFloats / std::max<std::size_t>(1, item_floats());
  return std::min(in_.batch, std::max<std::size_t>(1, fit));
}

ConvolutionCall::Positions ConvolutionCall::positions_of(const Convolution::Part& part) const {
  const std::size_t all = out_planes_.columns;
  if (!sizes_.transposed) return {0, 1, all, 0};
  // Output t is at t + padding = phase + stride * m.
  const std::size_t stride = sizes_.columns.stride, before = sizes_.columns.before;
  const std::size_t m = before > part.phase ? (before - part.phase + stride - 1) / stride : 0;
  const std::size_t first = part.phase + stride * m - before;
  return {first, stride, first < all ? (all - 1 - first) / stride + 1 : 0, m};
}

void ConvolutionCall::fill_offsets(const Convolution::Part& taps, std::size_t* offsets) const {
  const ConvolutionAxis& axis = sizes_.columns;
  const std::size_t reach = axis.dilation * (axis.kernel - 1) / axis.stride;
  const std::size_t plane_taps = taps.rows * taps.columns.size();
  std::size_t* to = offsets;
  for (std::size_t row = 0; row < taps.rows; ++row) {
    for (const std::size_t column : taps.columns) {
      const std::size_t at = column * axis.dilation;
      *to++ = sizes_.transposed ? reach - (at - taps.phase) / axis.stride
                                : layout_.at(row * sizes_.rows.dilation, at);
    }
  }
  for (std::size_t i = plane_taps; i < taps.taps; ++i) {
    offsets[i] = offsets[i - plane_taps] + layout_.plane;
  }
}

Status ConvolutionCall::run() {
  const std::size_t positions = out_planes_.batch * out_planes_.rows * out_planes_.columns;
  if (positions == 0) return Status::kOk;
  const double ns = static_cast<double>(positions) * convolution_.row_ns();
  Team team(threads_for(ns), static_cast<std::uint64_t>(ns));
  WithScratch<Memory> memory(*this, team.size());
  const std::vector<Convolution::Part>& parts = convolution_.parts_;
  if (sizes_.transposed && parts.size() < sizes_.columns.stride) fill_with_bias(team);
  for (std::size_t first = 0; first < in_.batch; first += items_) {
    const std::size_t items = std::min(items_, in_.batch - first);
    if (layout_.copies) copy_items(team, first, items, memory->planes);
    const float* planes = layout_.copies ? memory->planes : x_ + first * item_floats();
    for (const Convolution::Part& part : parts) {
      const Positions at = positions_of(part);
      if (at.count == 0) continue;
      if (first == 0 || parts.size() > 1) fill_offsets(part, memory->offsets);
      run_part(team, {part, at, planes, *memory, first, items, 0, 0, 0});
    }
    if (team.stopped()) return Status::kStopped;
  }
  return Status::kOk;
}

// For the positions that no tap meets.
void ConvolutionCall::fill_with_bias(Team& team) const {
  const std::size_t count = in_.batch * sizes_.out_channels, size = lines() * out_planes_.columns;
  const std::size_t outputs = convolution_.group_outputs();
  const float* bias = convolution_.bias_.data();
  const double ns = static_cast<double>(count * size) / 4;
  team.run(
      count, grain_for(ns, count), [&](std::size_t, std::size_t begin, std::size_t end) noexcept {
        for (std::size_t i = begin; i < end; ++i) {
          const std::size_t channel = i % sizes_.out_channels;
          std::fill_n(out_ + i * size, size,
                      bias[channel / outputs * convolution_.padded_outputs() + channel % outputs]);
        }
      });
}

void ConvolutionCall::copy_items(Team& team, std::size_t first, std::size_t items,
                                 float* planes) const {
  const std::size_t count = items * sizes_.in_channels, size = in_.rows * in_.columns;
  const float* from = x_ + first * sizes_.in_channels * size;
  const double ns = static_cast<double>(count * layout_.plane) / 4;
  team.run(count, grain_for(ns, count),
           [&](std::size_t, std::size_t begin, std::size_t end) noexcept {
             for (std::size_t i = begin; i < end; ++i) {
               layout_.copy(from + i * size, planes + i * layout_.plane);
             }
           });
}

// Shares out a part. A unit by places is some panels of some places; one by runs is a block of a
// run, of one panel where there are few.
void ConvolutionCall::run_part(Team& team, Work work) const {
  std::size_t units = sizes_.groups;
  if (by_place_) {
    work.block = kPlaces;
    work.blocks = (work.items * lines() * work.positions.count + kPlaces - 1) / kPlaces;
    work.panels = kMaxBlock;
  } else {
    work.block = run_block();
    work.blocks = (run_length(work.positions) + work.block - 1) / work.block;
    units *= work.items * (joins_ ? 1 : lines());
    work.panels = joins_ || units * work.blocks < 4 * team.size() ? 1 : panels();
  }
  units *= work.blocks * ((panels() + work.panels - 1) / work.panels);
  const double ns =
      static_cast<double>(work.items * lines() * work.positions.count) * convolution_.row_ns();
  const double grain = kWorthSharingNs * static_cast<double>(units) / ns;
  team.run(units, static_cast<std::size_t>(std::max(1.0, grain)),
           [&](std::size_t participant, std::size_t begin, std::size_t end) noexcept {
             for (std::size_t unit = begin; unit < end && !team.stopped(); ++unit) {
               if (by_place_) {
                 place_unit(work, unit);
               } else {
                 run_unit(work, unit, participant);
               }
             }
           });
}

TapPanels ConvolutionCall::taps_of(const Work& work, std::size_t group, std::size_t panel) const {
  const std::size_t width = convolution_.width_, padded = convolution_.padded_outputs();
  const std::size_t channel = panel * width;
  return {convolution_.weights_.data() + work.part.weights_at +
              (group * padded + channel) * work.part.taps,
          convolution_.bias_.data() + group * padded + channel,
          work.memory.offsets,
          work.part.taps,
          width,
          std::min(work.panels * width, convolution_.group_outputs() - channel)};
}

// Input channel 0 of a group.
const float* ConvolutionCall::input_of(const Work& work, std::size_t item,
                                       std::size_t group) const {
  return work.planes + item * item_floats() + group * convolution_.group_inputs() * layout_.plane;
}

float* ConvolutionCall::output_of(const Work& work, std::size_t item, std::size_t channel) const {
  return out_ +
         ((work.first_item + item) * sizes_.out_channels + channel) * lines() * out_planes_.columns;
}

namespace {

// Takes a number apart: unit = a + n * (b + ...).
std::size_t take_digit(std::size_t& unit, std::size_t n) {
  if (n == 1) return 0;
  const std::size_t digit = unit % n;
  unit /= n;
  return digit;
}

}  // namespace

void ConvolutionCall::run_unit(const Work& work, std::size_t unit, std::size_t participant) const {
  const Positions& positions = work.positions;
  const std::size_t width = convolution_.width_, plane = lines() * out_planes_.columns;
  const std::size_t panel =
      take_digit(unit, (panels() + work.panels - 1) / work.panels) * work.panels;
  const std::size_t begin = take_digit(unit, work.blocks) * work.block;
  const std::size_t line = take_digit(unit, joins_ ? 1 : lines());
  const std::size_t group = take_digit(unit, sizes_.groups), item = unit;

  const std::size_t count = work.block_at(begin, run_length(positions));
  const float* x = input_of(work, item, group) + line * layout_.pitch + positions.base + begin;
  float* out = output_of(work, item, group * convolution_.group_outputs() + panel * width);
  const TapPanels taps = taps_of(work, group, panel);
  if (!joins_) {
    out += line * out_planes_.columns + positions.first + begin * positions.step;
    convolution_.kernels_.convolve_run(x, taps, count, {out, plane, positions.step});
    return;
  }
  float* joined = work.memory.joined + participant * joined_floats();
  convolution_.kernels_.convolve_run(x, taps, count, {joined, work.block, 1});
  for (std::size_t channel = 0; channel < taps.channels; ++channel) {
    take_apart(joined + channel * work.block, begin, count, out + channel * plane);
  }
}

// Copies the positions [begin, begin + count) of joined rows to where they belong.
void ConvolutionCall::take_apart(const float* joined, std::size_t begin, std::size_t count,
                                 float* out) const {
  const std::size_t columns = out_planes_.columns;
  std::size_t line = begin / layout_.pitch, column = begin % layout_.pitch;
  for (const float* end = joined + count; joined < end; ++line, column = 0) {
    const std::size_t left = static_cast<std::size_t>(end - joined);
    if (column < columns) {
      std::copy_n(joined, std::min(left, columns - column), out + line * columns + column);
    }
    joined += std::min(left, layout_.pitch - column);
  }
}

void ConvolutionCall::place_unit(const Work& work, std::size_t unit) const {
  const Positions& positions = work.positions;
  const std::size_t begin = take_digit(unit, work.blocks) * work.block;
  const std::size_t panel =
      take_digit(unit, (panels() + work.panels - 1) / work.panels) * work.panels;
  const std::size_t group = unit;
  const std::size_t channel = group * convolution_.group_outputs() + panel * convolution_.width_;
  const std::size_t stride = sizes_.transposed ? 1 : sizes_.columns.stride;

  const float* x[kPlaces];
  float* out[kPlaces];
  const std::size_t places = work.block_at(begin, work.items * lines() * positions.count);
  std::size_t column = begin % positions.count, line = begin / positions.count % lines();
  std::size_t item = begin / positions.count / lines();
  for (std::size_t i = 0; i < places; ++i) {
    x[i] = input_of(work, item, group) + line * sizes_.rows.stride * layout_.pitch +
           positions.base + column * stride;
    out[i] = output_of(work, item, channel) + line * out_planes_.columns + positions.first +
             column * positions.step;
    if (++column < positions.count) continue;
    column = 0;
    if (++line < lines()) continue;
    line = 0;
    ++item;
  }
  convolution_.kernels_.convolve_places({x, out, lines() * out_planes_.columns, places},
                                        taps_of(work, group, panel));
}

Status Convolution::forward(const float* x, const PlaneSizes& in, float* out) const {
  return ConvolutionCall(*this, x, in, out).run();
}

}  // namespace dynaquant
