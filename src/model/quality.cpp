// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "seqkv/quality.hpp"

#include <Kokkos_Core.hpp>
#include <algorithm>
#include <cmath>

namespace seqkv {
namespace {

using HostRange = Kokkos::RangePolicy<Kokkos::DefaultHostExecutionSpace, Kokkos::IndexType<std::int64_t>>;

/// log of the sum of e^logit.
double log_sum_exp(std::span<const float> logits) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (float x : logits) sum += std::exp(x - largest);
  return largest + std::log(sum);
}

struct RowPair {
  double kl = 0;
  double nll_difference = 0;
  bool agreed = false;
};

RowPair compare(std::span<const float> exact, std::span<const float> restored, std::optional<Token> next) {
  const double exact_norm = log_sum_exp(exact);
  const double restored_norm = log_sum_exp(restored);
  RowPair out;
  for (std::size_t i = 0; i < exact.size(); ++i) {
    const double log_p = exact[i] - exact_norm;
    out.kl += std::exp(log_p) * (log_p - (restored[i] - restored_norm));
  }
  out.agreed = std::max_element(exact.begin(), exact.end()) - exact.begin() ==
               std::max_element(restored.begin(), restored.end()) - restored.begin();
  if (next) out.nll_difference = (exact[*next] - exact_norm) - (restored[*next] - restored_norm);
  return out;
}

}  // namespace

void QualityMeter::add(std::span<const float> exact, std::span<const float> restored,
                       std::span<const std::optional<Token>> next) {
  const auto rows = static_cast<std::int64_t>(next.size());
  if (rows == 0) return;
  const std::size_t width = exact.size() / next.size();
  std::vector<RowPair> pairs(next.size());
  Kokkos::parallel_for("seqkv::model::quality", HostRange(0, rows), [&](std::int64_t r) {
    pairs[r] = compare(exact.subspan(r * width, width), restored.subspan(r * width, width), next[r]);
  });
  for (std::size_t r = 0; r < pairs.size(); ++r) {
    kl_.push_back(pairs[r].kl);
    agreed_ += pairs[r].agreed ? 1 : 0;
    nll_difference_ += pairs[r].nll_difference;
    targets_ += next[r] ? 1 : 0;
  }
}

Quality QualityMeter::result() const {
  Quality quality;
  quality.rows = static_cast<std::int64_t>(kl_.size());
  if (kl_.empty()) return quality;
  const auto rows = static_cast<double>(kl_.size());
  for (double kl : kl_) quality.kl_mean += kl / rows;
  std::vector<double> sorted = kl_;
  std::sort(sorted.begin(), sorted.end());
  // Linear interpolation between the two nearest ranks.
  const double rank = 0.99 * (rows - 1);
  const auto below = static_cast<std::size_t>(rank);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  quality.kl_p99 = sorted[below] + (rank - static_cast<double>(below)) * (sorted[above] - sorted[below]);
  quality.top1 = static_cast<double>(agreed_) / rows;
  if (targets_ > 0) quality.delta_nll = nll_difference_ / static_cast<double>(targets_);
  return quality;
}

double surprisal_bits(std::span<const float> logits, TokenSpan next) {
  if (next.empty()) return 0;
  const std::size_t width = logits.size() / next.size();
  std::vector<double> bits(next.size());
  Kokkos::parallel_for("seqkv::model::surprisal", HostRange(0, static_cast<std::int64_t>(next.size())),
                       [&](std::int64_t r) {
                         const auto row = logits.subspan(r * width, width);
                         bits[r] = (log_sum_exp(row) - row[next[r]]) * 1.44269504088896340736;
                       });
  double sum = 0;
  for (double b : bits) sum += b;
  return sum;
}

}  // namespace seqkv
