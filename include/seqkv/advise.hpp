// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Which codec restores a cache soonest: bytes cost time to read, decoding costs time to compute, and the balance
/// depends on the machine (docs/replay.md, "The frontier").
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "seqkv/model_config.hpp"

namespace seqkv {

/// What restoring with a codec costs, measured or computed.
struct RestoreCost {
  std::string codec;
  double bytes_per_token = 0;    ///< to be read
  double seconds_per_token = 0;  ///< to be computed then
  double kl = 0;                 ///< nats a token (Quality::kl_mean)

  /// Seconds a token at so many bytes a second.
  double seconds(double bandwidth) const { return bytes_per_token / bandwidth + seconds_per_token; }
};

/// Where a codec is the fastest: bandwidths [from, to) in bytes a second.
struct FrontierSpan {
  std::size_t cost = 0;  ///< index
  double from = 0;
  double to = 0;  ///< infinite for the last
};

/// The fastest codec at this bandwidth whose KL is at most `kl`; none if all have more. O(n).
std::optional<std::size_t> fastest(std::span<const RestoreCost> costs, double bandwidth, double kl);

/// The same for every bandwidth, from the slowest to the fastest: time is linear in 1 / bandwidth, so that this is a
/// lower envelope of lines. Where two spans meet, both codecs take the same time. O(n^2).
std::vector<FrontierSpan> frontier(std::span<const RestoreCost> costs, double kl);

/// Multiplications and additions of a forward pass over so many tokens up to the last layer's keys and values, without
/// logits: 2 for each weight and token, and 4 * layers * query_heads * head_dim for each pair of a query and a key.
double prefill_operations(const ModelConfig& config, std::int64_t tokens);

}  // namespace seqkv
