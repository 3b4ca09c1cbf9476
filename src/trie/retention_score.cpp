// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// The mathematics of docs/retention.md. Logarithms and powers are detmath's, so that the order of evictions is the same
// on every machine.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <numbers>

#include "core/detmath.hpp"
#include "seqkv/retention.hpp"

namespace seqkv {
namespace {

constexpr std::array<std::string_view, 4> names = {"value", "lru", "lfu", "gdsf"};

/// 2^-x for x >= 0; 0 beyond the range of detmath, where nothing is left to remember.
double exp2_of_minus(double x) { return x > 1000.0 ? 0.0 : detmath::exp2(-x); }

double decayed(double weight, double elapsed, double half_life) { return weight * exp2_of_minus(elapsed / half_life); }

double cost_per_byte(const RetentionNode& node) { return node.cost / static_cast<double>(node.bytes); }

}  // namespace

std::string_view to_string(RetentionPolicy policy) noexcept { return names[static_cast<std::size_t>(policy)]; }

Result<RetentionPolicy> parse_retention_policy(std::string_view name) {
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) {
    return Error(ErrorCode::invalid_argument,
                 fmt::format("no retention policy '{}': {} are known", without_controls(name), fmt::join(names, ", ")));
  }
  return static_cast<RetentionPolicy>(found - names.begin());
}

RecomputeCost RecomputeCost::of_model(double parameters, std::int64_t layers, std::int64_t query_components) noexcept {
  // A multiply and an add for each weight; in attention for q k and again for the weighted sum of v.
  return {2.0 * parameters, 4.0 * static_cast<double>(layers) * static_cast<double>(query_components)};
}

double RecomputeCost::of(std::int64_t first, std::int64_t count) const noexcept {
  // The token at position p attends to p + 1 tokens: the sum over p = first .. first + count - 1.
  const auto n = static_cast<double>(count);
  const double pairs = n * static_cast<double>(first) + n * (n + 1.0) / 2.0;
  return n * per_token + pairs * per_token_pair;
}

double prior_rate_of(double prefix_bits, double requests_per_time) noexcept {
  return requests_per_time * exp2_of_minus(prefix_bits);
}

RetentionState first_use(const RetentionNode& node, double now, double half_life) {
  RetentionState state;
  state.node = node;
  state.hits = 1;
  // Uses at rate r, each halved every half-life, sum to the integral of r 2^(-t / half_life) over t > 0.
  state.weight = node.prior_rate * half_life / std::numbers::ln2 + 1.0;
  state.last_use = now;
  return state;
}

RetentionState next_use(RetentionState state, double now, double half_life) {
  state.weight = decayed(state.weight, now - state.last_use, half_life) + 1.0;
  state.last_use = now;
  ++state.hits;
  return state;
}

double reuse_rate(const RetentionState& state, double now, double half_life) {
  return decayed(state.weight, now - state.last_use, half_life) * std::numbers::ln2 / half_life;
}

double retention_value(const RetentionState& state, double now, double half_life) {
  return reuse_rate(state, now, half_life) * cost_per_byte(state.node);
}

double retention_rank(RetentionPolicy policy, const RetentionState& state, double half_life, double floor) {
  switch (policy) {
    case RetentionPolicy::lru:
      return 0.0;  // last_call decides
    case RetentionPolicy::lfu:
      return static_cast<double>(state.hits);
    case RetentionPolicy::gdsf:
      return floor + static_cast<double>(state.hits) * cost_per_byte(state.node);
    case RetentionPolicy::value:
      break;
  }
  // log2(weight 2^(-(now - last_use) / half_life) cost / bytes) without -now / half_life, which all nodes share.
  return detmath::log2(state.weight) + state.last_use / half_life + detmath::log2(state.node.cost) -
         detmath::log2(static_cast<double>(state.node.bytes));
}

}  // namespace seqkv
