// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "seqkv/advise.hpp"

#include <algorithm>
#include <limits>

namespace seqkv {

std::optional<std::size_t> fastest(std::span<const RestoreCost> costs, double bandwidth, double kl) {
  std::optional<std::size_t> best;
  for (std::size_t i = 0; i < costs.size(); ++i) {
    if (costs[i].kl > kl) continue;
    if (!best || costs[i].seconds(bandwidth) < costs[*best].seconds(bandwidth)) best = i;
  }
  return best;
}

std::vector<FrontierSpan> frontier(std::span<const RestoreCost> costs, double kl) {
  std::vector<FrontierSpan> spans;
  // As the bandwidth goes to 0, bytes decide, then seconds.
  std::optional<std::size_t> now;
  for (std::size_t i = 0; i < costs.size(); ++i) {
    if (costs[i].kl > kl) continue;
    const auto key = [&](std::size_t c) { return std::pair(costs[c].bytes_per_token, costs[c].seconds_per_token); };
    if (!now || key(i) < key(*now)) now = i;
  }
  double from = 0;
  while (now) {
    // The first of those that need more bytes and less time to become as fast.
    std::optional<std::size_t> next;
    double at = std::numeric_limits<double>::infinity();
    for (std::size_t i = 0; i < costs.size(); ++i) {
      const double saved = costs[*now].seconds_per_token - costs[i].seconds_per_token;
      if (costs[i].kl > kl || saved <= 0) continue;
      const double even = (costs[i].bytes_per_token - costs[*now].bytes_per_token) / saved;
      const bool sooner =
          even < at || (even == at && next && saved > costs[*now].seconds_per_token - costs[*next].seconds_per_token);
      if (sooner) {
        next = i;
        at = even;
      }
    }
    spans.push_back({*now, from, at});
    from = at;
    now = next;
  }
  return spans;
}

double prefill_operations(const ModelConfig& config, std::int64_t tokens) {
  const auto n = static_cast<double>(tokens);
  const auto hidden = static_cast<double>(config.hidden);
  const auto query = static_cast<double>(config.query_heads * config.head_dim);
  const auto kv = static_cast<double>(config.kv_heads * config.head_dim);
  const double projections = hidden * (query + 2 * kv);
  const double rest = query * hidden + 3 * hidden * static_cast<double>(config.intermediate);
  double operations = 2 * n * projections * static_cast<double>(config.layers);
  for (std::int64_t layer = 0; layer + 1 < config.layers; ++layer) {  // the last one stops at its keys and values
    const auto window = static_cast<double>(config.window[static_cast<std::size_t>(layer)]);
    const double seen =
        window == 0 || window >= n ? n * (n + 1) / 2 : window * (window + 1) / 2 + (n - window) * window;
    operations += 2 * n * rest + 4 * query * seen;
  }
  return operations;
}

}  // namespace seqkv
