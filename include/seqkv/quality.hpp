// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// How far a model that continues from a restored cache is from one that continues from the exact cache.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "seqkv/kv.hpp"

namespace seqkv {

struct Quality {
  double kl_mean = 0;    ///< KL(exact || restored) of next-token distributions, nats, mean over tokens
  double kl_p99 = 0;     ///< 99th percentile over tokens
  double top1 = 0;       ///< how often both rank the same token first
  double delta_nll = 0;  ///< mean of NLL(restored) - NLL(exact) of the tokens that follow, nats
  std::int64_t rows = 0;
};

/// Collects rows of logits in pairs. Computed in double on the host.
class QualityMeter {
 public:
  /// `exact` and `restored`: [next.size()][vocabulary] row-major on the host. `next` has the token that follows
  /// each row, where it is known.
  void add(std::span<const float> exact, std::span<const float> restored, std::span<const std::optional<Token>> next);
  Quality result() const;

 private:
  std::vector<double> kl_;
  std::int64_t agreed_ = 0;
  double nll_difference_ = 0;
  std::int64_t targets_ = 0;
};

/// Sum over rows of -log2 softmax(logits)[next], bits. `logits`: [next.size()][vocabulary].
double surprisal_bits(std::span<const float> logits, TokenSpan next);

}  // namespace seqkv
