// SPDX-License-Identifier: MIT
#include "engine/encoder_layer.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>

#include "engine/clock.h"
#include "engine/cost.h"
#include "engine/product.h"
#include "engine/quantized_rows.h"
#include "engine/scratch.h"
#include "engine/thread_pool.h"

namespace dynaquant {
namespace {

// Rows that go from one Linear to the next together, for each thread: what lies between the two
// should stay in a cache of its core.
std::size_t block_rows(const EncoderLayer& layer) {
  constexpr std::size_t kFloats = 96 * 1024, kLeast = 32, kMost = 256;
  return std::clamp(kFloats / layer.inner / 16 * 16, kLeast, kMost);
}

// Whether all rows of its input share a range, so that none can be quantized before all are there.
bool shares_range(const AnyLinear& linear) {
  const auto* int8 = std::get_if<const Linear<Int8Matrix>*>(&linear);
  return int8 != nullptr && !(*int8)->matrix().mode().per_row;
}

double product_ns(const AnyLinear& linear, std::size_t rows) {
  return std::visit([&](const auto* each) { return product_ns(each->matrix(), rows); }, linear);
}

// The status that the parts would give if each computed all rows before the next one. Blocks of
// rows come to the later products before others have come to the first.
class Outcome {
 public:
  void see(Product product, Status status) {
    if (status == Status::kOk) return;
    const std::size_t rank = 2 * product + (status == Status::kOverflow ? 1 : 0);
    if (rank >= rank_) return;
    rank_ = rank;
    status_ = status;
  }
  Status status() const { return status_; }

 private:
  Status status_ = Status::kOk;
  std::size_t rank_ = std::numeric_limits<std::size_t>::max();
};

// One of the products, block of rows by block of rows.
class BlockedProduct {
 public:
  // Room for `rows` rows, of which at most `block` are multiplied together.
  BlockedProduct(Scratch& scratch, const AnyLinear& linear, std::size_t rows, std::size_t block)
      : linear_(linear) {
    if (const auto* int8 = std::get_if<const Linear<Int8Matrix>*>(&linear)) {
      const Int8Matrix& matrix = (*int8)->matrix();
      quantized_.emplace(scratch, shares_range(linear) ? rows : block, matrix.depth(),
                         matrix.mode());
    }
  }

  // Comes before the first block, when all rows are there.
  Status begin(Team& team, const float* x, std::size_t rows) {
    return shares_range(linear_) ? quantize(team, x, rows) : Status::kOk;
  }

  // out = the product of the rows of `span`, which are at x.
  Status run(Team& team, const float* x, const RowSpan& span, float* out) {
    return std::visit([&](const auto* linear) { return multiply(team, *linear, x, span, out); },
                      linear_);
  }

 private:
  Status quantize(Team& team, const float* x, std::size_t rows) {
    const Linear<Int8Matrix>& linear = *std::get<const Linear<Int8Matrix>*>(linear_);
    const Int8Matrix& matrix = linear.matrix();
    const std::size_t depth = matrix.depth();
    return quantize_rows({linear.kernels(), team}, matrix.mode(), {x, depth}, rows, depth,
                         *quantized_)
               ? Status::kOk
               : Status::kInputNotFinite;
  }

  template <typename Matrix>
  Status multiply(Team& team, const Linear<Matrix>& linear, const float* x, const RowSpan& span,
                  float* out) {
    const std::size_t depth = linear.in_features(), columns = linear.out_features();
    dynaquant::multiply({linear.kernels(), team}, FloatRows{x, depth}, span.rows, linear.matrix(),
                        {out, columns, columns});
    return team.stopped() ? Status::kStopped : Status::kOk;
  }
  Status multiply(Team& team, const Linear<Int8Matrix>& linear, const float* x, const RowSpan& span,
                  float* out) {
    const Int8Matrix& matrix = linear.matrix();
    RowSpan quantized = span;
    if (matrix.mode().per_row) {
      const Status status = quantize(team, x, span.rows);
      if (status != Status::kOk) return status;
      quantized.first = 0;
    }
    const std::size_t columns = linear.out_features();
    return multiply_quantized({linear.kernels(), team}, *quantized_, quantized, matrix,
                              {out, columns, columns}, false);
  }

  AnyLinear linear_;
  std::optional<QuantizedRows> quantized_;
};

// How the rows are computed: some sequences after the other, and of these some rows.
struct Plan {
  Plan(const EncoderLayer& layer, std::size_t threads) : threads(threads) {
    block = block_rows(layer) * threads;
    const bool alone = std::none_of(layer.linears.begin(), layer.linears.end(), shares_range) &&
                       (layer.batch_first || layer.batch == 1);
    sequences = alone ? std::clamp<std::size_t>(block / layer.length, 1, layer.batch) : layer.batch;
    rows = sequences * layer.length;
    block = std::min(block, rows);
    inner_rows = shares_range(layer.linears[kLinear2]) ? rows : block;
  }

  std::size_t threads;
  std::size_t sequences;   // that are computed together: all if they share a range
  std::size_t rows;        // of these
  std::size_t block;       // rows that are multiplied together
  std::size_t inner_rows;  // whose inner features are there at once
};

struct Room {
  Room(Scratch& scratch, const EncoderLayer& layer, const Plan& plan)
      : products{product(scratch, layer, plan, kInProj), product(scratch, layer, plan, kOutProj),
                 product(scratch, layer, plan, kLinear1), product(scratch, layer, plan, kLinear2)},
        attention(scratch, layer.attention(plan.sequences, nullptr, nullptr).sizes, plan.threads),
        wide(scratch.take<float>(
            std::max(count_of(plan.rows, 3, layer.width), count_of(plan.inner_rows, layer.inner)))),
        narrow(scratch.take<float>(count_of(plan.rows, layer.width))),
        middle(scratch.take<float>(count_of(plan.rows, layer.width))),
        projected(scratch.take<float>(count_of(plan.block, layer.width))),
        sums(scratch.take<float>(count_of(plan.block, layer.width))) {}

  static BlockedProduct product(Scratch& scratch, const EncoderLayer& layer, const Plan& plan,
                                Product which) {
    return {scratch, layer.linears[which], plan.rows, plan.block};
  }

  BlockedProduct products[kProducts];
  AttentionRoom attention;
  float* wide;       // queries, keys and values; then the inner features
  float* narrow;     // what the heads give; with norm_first also what goes into each part
  float* middle;     // what comes after attention
  float* projected;  // a block of a part's results
  float* sums;       // a block of them and their residuals
};

// Some sequences.
class Pass {
 public:
  Pass(const KernelTable& kernels, const EncoderLayer& layer, const Plan& plan, Team& team,
       Room& room, double* products)
      : kernels_(kernels),
        layer_(layer),
        plan_(plan),
        team_(team),
        room_(room),
        products_(products) {}

  // `sequences` of them. Ends early if nothing that comes later can matter.
  void run(const float* x, std::size_t sequences, float* out, Outcome& outcome) {
    rows_ = sequences * layer_.length;
    if (attend(x, sequences, outcome)) feed(out, outcome);
  }

 private:
  bool attend(const float* x, std::size_t sequences, Outcome& outcome) {
    const std::size_t width = layer_.width;
    const float* input = x;
    if (layer_.norm_first) {
      normalize(layer_.norm1, x, rows_, room_.narrow);
      input = room_.narrow;
    }
    if (!begin(kInProj, input, outcome)) return false;
    for_blocks([&](const RowSpan& span) {
      product(kInProj, input + span.first * width, span, room_.wide + span.first * 3 * width,
              outcome);
    });
    if (failed(outcome)) return false;
    const Attention attention = layer_.attention(sequences, room_.wide, room_.narrow);
    outcome.see(kOutProj, dynaquant::attend({kernels_, team_}, attention, room_.attention));
    if (failed(outcome) || !begin(kOutProj, room_.narrow, outcome)) return false;
    for_blocks([&](const RowSpan& span) {
      const std::size_t at = span.first * width;
      product(kOutProj, room_.narrow + at, span, room_.projected, outcome);
      float* middle = room_.middle + at;
      if (layer_.norm_first) {
        add(x + at, room_.projected, span.rows, middle);
        // The block's results of the heads have been read.
        normalize(layer_.norm2, middle, span.rows, room_.narrow + at);
      } else {
        add_and_normalize(x + at, span.rows, layer_.norm1, middle);
      }
    });
    return !failed(outcome);
  }

  void feed(float* out, Outcome& outcome) {
    const float* input = layer_.norm_first ? room_.narrow : room_.middle;
    if (!begin(kLinear1, input, outcome)) return;
    if (shares_range(layer_.linears[kLinear2])) {
      for_blocks([&](const RowSpan& span) {
        expand(input, span, room_.wide + span.first * layer_.inner, outcome);
      });
      if (failed(outcome) || !begin(kLinear2, room_.wide, outcome)) return;
      for_blocks([&](const RowSpan& span) { contract(span, out, outcome); });
    } else {
      for_blocks([&](const RowSpan& span) {
        expand(input, span, room_.wide, outcome);
        contract(span, out, outcome);
      });
    }
  }

  // The first of the last two Linears, and the activation.
  void expand(const float* x, const RowSpan& span, float* inner, Outcome& outcome) {
    product(kLinear1, x + span.first * layer_.width, span, inner, outcome);
    const auto kernel = kernels_.unary[static_cast<std::size_t>(layer_.activation)];
    by_rows(span.rows, layer_.inner, 0.2, [&](std::size_t begin, std::size_t end) {
      float* at = inner + begin * layer_.inner;
      kernel(at, (end - begin) * layer_.inner, {}, at);
    });
  }

  // The last Linear, and what comes after it. Its input is the block at the start of `wide`, unless
  // all rows are quantized.
  void contract(const RowSpan& span, float* out, Outcome& outcome) {
    product(kLinear2, room_.wide, span, room_.projected, outcome);
    const std::size_t at = span.first * layer_.width;
    if (layer_.norm_first) {
      add(room_.middle + at, room_.projected, span.rows, out + at);
    } else {
      add_and_normalize(room_.middle + at, span.rows, layer_.norm2, out + at);
    }
  }

  // Whether a product has failed, or nobody wants the result any more.
  bool failed(const Outcome& outcome) const {
    return outcome.status() != Status::kOk || team_.stopped();
  }
  bool begin(Product which, const float* x, Outcome& outcome) {
    const Clock clock(products_);
    outcome.see(which, room_.products[which].begin(team_, x, rows_));
    return !failed(outcome);
  }
  void product(Product which, const float* x, const RowSpan& span, float* out, Outcome& outcome) {
    const Clock clock(products_);
    outcome.see(which, room_.products[which].run(team_, x, span, out));
  }

  template <typename Body>
  void for_blocks(const Body& body) {
    for (std::size_t row = 0; row < rows_ && !team_.stopped(); row += plan_.block) {
      body(RowSpan{row, std::min(plan_.block, rows_ - row)});
    }
  }

  // Shares out rows, of whose elements each takes so long: body(begin, end).
  template <typename Body>
  void by_rows(std::size_t rows, std::size_t width, double element_ns, const Body& body) {
    const double ns = static_cast<double>(rows * width) * element_ns;
    constexpr std::size_t kElements = 4096;
    const std::size_t grain = grain_for(ns, rows, std::max<std::size_t>(1, kElements / width));
    team_.run(rows, grain,
              [&](std::size_t, std::size_t begin, std::size_t end) noexcept { body(begin, end); });
  }

  void add(const float* a, const float* b, std::size_t rows, float* out) {
    by_rows(rows, layer_.width, 0.1,
            [&](std::size_t begin, std::size_t end) { add_rows(a, b, begin, end, out); });
  }
  void normalize(const RowNorm& norm, const float* x, std::size_t rows, float* out) {
    by_rows(rows, layer_.width, 0.25,
            [&](std::size_t begin, std::size_t end) { normalize_rows(norm, x, begin, end, out); });
  }
  // Of x and the projected block.
  void add_and_normalize(const float* x, std::size_t rows, const RowNorm& norm, float* out) {
    by_rows(rows, layer_.width, 0.3, [&](std::size_t begin, std::size_t end) {
      add_rows(x, room_.projected, begin, end, room_.sums);
      normalize_rows(norm, room_.sums, begin, end, out);
    });
  }
  void add_rows(const float* a, const float* b, std::size_t begin, std::size_t end,
                float* out) const {
    const std::size_t width = layer_.width, at = begin * width;
    kernels_.binary[static_cast<std::size_t>(Binary::kAdd)](
        {a + at, width, false}, {b + at, width, false}, end - begin, width, out + at);
  }
  void normalize_rows(const RowNorm& norm, const float* x, std::size_t begin, std::size_t end,
                      float* out) const {
    const std::size_t width = layer_.width, at = begin * width;
    kernels_.normalize(x + at, end - begin, width, {norm.weight, norm.bias, 1}, norm.eps, out + at);
  }

  const KernelTable& kernels_;
  const EncoderLayer& layer_;
  const Plan& plan_;
  Team& team_;
  Room& room_;
  double* products_;  // the nanoseconds that they take; or null
  std::size_t rows_ = 0;
};

}  // namespace

Attention EncoderLayer::attention(std::size_t count, const float* qkv, float* out) const {
  const std::size_t features = width / heads;
  const auto steps = [&](std::size_t stride) {
    return batch_first ? HeadSteps{length * stride, features, stride}
                       : HeadSteps{stride, features, count * stride};
  };
  const HeadSteps from = steps(3 * width);
  const float* k = qkv == nullptr ? nullptr : qkv + width;
  const float* v = qkv == nullptr ? nullptr : qkv + 2 * width;
  return {{count, heads, 1, length, length, features, features},
          scale,
          causal,
          qkv,
          k,
          v,
          mask,
          out,
          nullptr,
          from,
          from,
          from,
          mask_steps,
          steps(width)};
}

Status forward(const KernelTable& kernels, const EncoderLayer& layer, const float* x, float* out,
               double* products) {
  if (products != nullptr) *products = 0;
  if (layer.rows() == 0) return Status::kOk;
  double longest = layer.attention(layer.batch, nullptr, nullptr).ns(), ns = longest;
  for (const AnyLinear& linear : layer.linears) {
    const double own = product_ns(linear, layer.rows());
    longest = std::max(longest, own);
    ns += own;
  }
  Team team(threads_for(longest), static_cast<std::uint64_t>(ns));
  const Plan plan(layer, team.size());
  WithScratch<Room> room(layer, plan);
  room->attention.products = products;
  EncoderLayer part = layer;
  Outcome outcome;
  for (std::size_t first = 0; first < layer.batch; first += plan.sequences) {
    const std::size_t count = std::min(plan.sequences, layer.batch - first);
    const std::size_t at = first * layer.length * layer.width;
    if (layer.mask != nullptr) part.mask = layer.mask + first * layer.mask_steps.batch;
    Pass(kernels, part, plan, team, *room, products).run(x + at, count, out + at, outcome);
    if (team.stopped()) return Status::kStopped;
  }
  return outcome.status();
}

}  // namespace dynaquant
