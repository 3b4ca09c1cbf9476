// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Weights by expectation maximization: what a level gave to the tokens that it was asked for, beside what the levels
// below gave to them. Doubles, but + - * / alone and in a fixed order: the same table everywhere.
#include <fmt/format.h>

#include <algorithm>

#include "core/execution_spaces.hpp"
#include "core/guard_memory.hpp"
#include "core/try.hpp"
#include "seqkv/token_coder.hpp"
#include "trie/check_tokens.hpp"
#include "trie/for_each_with_tools.hpp"
#include "trie/predictor.hpp"

namespace seqkv {
namespace {

using trie::Counts;
using trie::Evidence;

/// Sums are taken over this many groups of sequences, and then over the groups in order.
constexpr std::size_t groups = 64;

/// Of each weight: how often its level was asked, and how often the token came from below it.
struct Sums {
  std::vector<double> asked, below;
  explicit Sums(std::size_t weights) : asked(weights), below(weights) {}
};

/// The table's place for a level in the mixture of all levels, or of those of the trie alone; false: not in it.
struct Selection {
  bool alone;
  bool operator()(std::uint16_t& weight) const {
    if (!alone) return true;
    constexpr unsigned row = token_weight_count(1);
    if (weight % row >= trie::classes) return false;
    weight = static_cast<std::uint16_t>(weight + trie::weight_row(0, Counts::learned_alone));
    return true;
  }
};

/// One pass over the evidence. `uniform` is the probability below all levels.
void collect(const Evidence& evidence, const Selection& select, double uniform, std::span<const std::uint16_t> weights,
             Sums& sums) {
  std::array<std::uint16_t, 3 * limits::max_window_depth> place;
  std::array<double, 3 * limits::max_window_depth + 1> mixed;
  const Evidence::Level* next = evidence.levels.data();
  for (const std::uint8_t count : evidence.counts) {
    std::size_t levels = 0;
    mixed[0] = uniform;
    for (const Evidence::Level* level = next; level != next + count; ++level) {
      std::uint16_t weight = level->weight;
      if (!select(weight)) continue;
      const double g = weights[weight] / 65536.0;
      place[levels] = weight;
      mixed[levels + 1] = (1.0 - g) * static_cast<double>(level->probability) + g * mixed[levels];
      ++levels;
    }
    next += count;
    double reached = 1.0;
    for (std::size_t i = levels; i-- > 0;) {
      const double g = weights[place[i]] / 65536.0;
      sums.asked[place[i]] += reached;
      reached *= g * mixed[i] / mixed[i + 1];
      sums.below[place[i]] += reached;
    }
  }
}

template <class ExecutionSpace>
class WeightTraining {
 public:
  WeightTraining(const ExecutionSpace& space, std::span<const TokenSpan> sequences, int depth, int passes)
      : space_(space),
        sequences_(sequences),
        depth_(depth),
        passes_(passes),
        weights_(trie::default_token_weights(static_cast<std::uint32_t>(depth))) {}

  Result<std::vector<std::uint16_t>> run(std::size_t folds, std::int64_t tokens) {
    Token largest = 0;
    for (std::size_t i = 0; i < sequences_.size(); ++i) {
      SEQKV_ASSIGN(const Token found, trie::check_tokens(sequences_[i], i));
      largest = std::max(largest, found);
    }
    if (largest >= limits::max_coded_vocabulary) {
      return Error(ErrorCode::limit_exceeded,
                   fmt::format("a vocabulary of {} is above {}", largest + 1, limits::max_coded_vocabulary));
    }
    if (sequences_.size() < 2) return weights_;
    vocabulary_ = largest + 1;
    evidence_.resize(sequences_.size());
    folds = std::min(folds, sequences_.size());
    const std::int64_t most =
        tokens == 0 ? INT64_MAX : std::max<std::int64_t>(1, tokens / static_cast<std::int64_t>(folds));
    for (std::size_t fold = 0; fold < folds; ++fold) SEQKV_TRY(gather(fold, folds, most));
    maximize({false});
    maximize({true});
    return weights_;
  }

 private:
  /// Codes the sequences of a fold, the first that have `most` tokens together, by a trie of the others.
  Result<void> gather(std::size_t fold, std::size_t folds, std::int64_t most) {
    std::vector<TokenSpan> others;
    std::vector<std::size_t> coded;
    std::int64_t tokens = 0;
    for (std::size_t i = 0; i < sequences_.size(); ++i) {
      if (i % folds != fold) {
        others.push_back(sequences_[i]);
      } else if (tokens < most) {
        coded.push_back(i);
        tokens += std::ssize(sequences_[i]);
      }
    }
    SEQKV_ASSIGN(const Trie trie, build_window_trie(space_, others, depth_));
    SEQKV_ASSIGN(const auto counts, trie::WindowCounts::derive(trie));
    trie::for_each_with_tools(
        space_, "seqkv::trie::observe_tokens", coded.size(),
        [&]() { return trie::Predictor(counts, weights_, vocabulary_, true); },
        [&](trie::Predictor& predictor, std::uint64_t i) {
          predictor.restart();
          for (const Token token : sequences_[coded[i]]) {
            predictor.observe(token, evidence_[coded[i]]);
            predictor.advance(token);
          }
        });
    return {};
  }

  void maximize(const Selection& select) {
    std::vector<std::uint16_t> start(weights_.size(), 1U << 15U);
    start.swap(weights_);
    std::vector<bool> seen(weights_.size());
    for (int pass = 0; pass < passes_; ++pass) {
      std::vector<Sums> sums(groups, Sums(weights_.size()));
      trie::for_each_with_tools(
          space_, "seqkv::trie::sum_evidence", groups, []() { return 0; },
          [&](int, std::uint64_t group) {
            for (std::size_t i = group; i < evidence_.size(); i += groups) {
              collect(evidence_[i], select, 1.0 / vocabulary_, weights_, sums[group]);
            }
          });
      for (std::size_t w = 0; w < weights_.size(); ++w) {
        double asked = 0;
        double below = 0;
        for (const Sums& of : sums) {
          asked += of.asked[w];
          below += of.below[w];
        }
        seen[w] = asked > 0;
        const auto weight = static_cast<int>(65536 * ((below + 0.5) / (asked + 1)) + 0.5);
        weights_[w] = static_cast<std::uint16_t>(std::clamp<int>(weight, min_token_weight, max_token_weight));
      }
    }
    for (std::size_t w = 0; w < weights_.size(); ++w) {
      if (!seen[w]) weights_[w] = start[w];
    }
  }

  ExecutionSpace space_;
  std::span<const TokenSpan> sequences_;
  int depth_;
  int passes_;
  Token vocabulary_ = 1;
  std::vector<std::uint16_t> weights_;
  std::vector<Evidence> evidence_;
};

}  // namespace

template <class ExecutionSpace>
Result<std::vector<std::uint16_t>> train_token_weights(const ExecutionSpace& space,
                                                       std::span<const TokenSpan> sequences, int depth,
                                                       const TokenWeightOptions& options) {
  if (options.folds < 2 || options.passes < 1 || options.tokens < 0) {
    return Error(ErrorCode::invalid_argument, "weights need two folds or more, a pass or more and no negative tokens");
  }
  if (sequences.empty()) return Error(ErrorCode::empty_input, "no sequence to train weights on");
  if (depth < 1) return Error(ErrorCode::invalid_argument, "windows of at least one token are needed");
  if (depth > limits::max_window_depth) {
    return Error(ErrorCode::limit_exceeded,
                 fmt::format("windows of {} tokens are longer than {}", depth, limits::max_window_depth));
  }
  return guard_memory("to train weights", [&]() {
    return WeightTraining<ExecutionSpace>(space, sequences, depth, options.passes)
        .run(static_cast<std::size_t>(options.folds), options.tokens);
  });
}

#define SEQKV_INSTANTIATE(Space)                                                                                   \
  template Result<std::vector<std::uint16_t>> train_token_weights<Space>(const Space&, std::span<const TokenSpan>, \
                                                                         int, const TokenWeightOptions&);
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)
#undef SEQKV_INSTANTIATE

}  // namespace seqkv
