// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "calibrate/sizes.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/try.hpp"

namespace seqkv::calibration {
namespace {

/// A profile may always be that large: for small models a share would be next to nothing.
constexpr std::int64_t least_budget = 8 << 20;
constexpr std::int64_t bytes_of_number = 2;
/// What a profile may cost, in 1/10,000 of the model, by effort.
constexpr std::int64_t shares[] = {50, 50, 50, 50, 100, 100, 200, 200, 400};

/// More layers below gained nothing.
constexpr std::int64_t usual_layers_below = 2;
/// Wider embeddings are projected ...
constexpr std::int64_t widest_embedding = 512;
/// ... on so many directions, where there is room.
constexpr std::int64_t token_directions = 256;

/// Of a budget that whole matrices exceed, transforms take at most a quarter and tokens an eighth.
constexpr std::int64_t transforms_part = 4;
constexpr std::int64_t tokens_part = 8;
/// Ranks are multiples of a vector of the CPU; the least rank, which is taken even if it is too large a share, is half
/// of one.
constexpr std::int64_t rank_step = 16;
constexpr std::int64_t token_step = 8;

std::int64_t width_of(const ModelConfig& config) { return config.kv_heads * config.head_dim; }

/// Weights that each token is multiplied with, embedding and head aside.
std::int64_t weights_of_layers(const ModelConfig& config) {
  const std::int64_t attention = config.hidden * config.head_dim * 2 * (config.query_heads + config.kv_heads);
  return config.layers * (attention + 3 * config.hidden * config.intermediate);
}

std::int64_t transform_numbers(const ModelConfig& config, std::int64_t blocks) {
  return 2 * config.layers * 2 * width_of(config) * (width_of(config) / blocks);
}

bool fits(const Budget& cost, const Budget& budget) {
  return cost.bytes <= budget.bytes && cost.products <= budget.products;
}

}  // namespace

Budget budget_of(const ModelConfig& config, const CalibrateOptions& options) {
  if (options.profile_bytes > 0) return {options.profile_bytes, options.profile_bytes / bytes_of_number};
  constexpr std::int64_t whole = 10'000;
  const std::int64_t share = shares[options.effort - 1];
  const std::int64_t layers = weights_of_layers(config);
  const std::int64_t all = layers + config.vocabulary * config.hidden * (config.tied_embeddings ? 1 : 2);
  return {std::max(least_budget, all * bytes_of_number / whole * share),
          std::max(least_budget / bytes_of_number, layers / whole * share)};
}

Budget cost_of(const ModelConfig& config, const Sizes& sizes) {
  const std::int64_t outputs = width_of(config) + 1;
  std::int64_t numbers = transform_numbers(config, sizes.blocks);
  for (std::int64_t b = 0; b < 2 * config.layers; ++b) {
    const std::int64_t inputs = 1 + sizes.token_width + window_of(b, sizes.layers_below) * width_of(config);
    const std::int64_t rank = sizes.rank > 0 ? useful_rank(sizes.rank, inputs, outputs) : 0;
    numbers += rank > 0 ? rank * (inputs + outputs) : inputs * outputs;
  }
  const std::int64_t lossless = sizes.lossless ? 4 * config.layers * width_of(config) * width_of(config) : 0;
  // Scales, first rows, knots and the head of the file; tables.
  const std::int64_t others = 2 * config.layers * (6 * width_of(config) + 1024) + (32 << 10);
  return {bytes_of_number * (numbers + lossless + config.vocabulary * sizes.token_width) + others, numbers};
}

static Result<Sizes> choose_lossy(const ModelConfig& config, const CalibrateOptions& options, const Budget& budget) {
  Sizes sizes;
  sizes.layers_below = options.layers_below.value_or(usual_layers_below);
  sizes.token_width =
      std::min(config.hidden,
               options.token_width.value_or(config.hidden <= widest_embedding ? config.hidden : token_directions));
  if (fits(cost_of(config, sizes), budget)) return sizes;

  const std::int64_t room = std::min(budget.products, budget.bytes / bytes_of_number) / transforms_part;
  while (sizes.blocks < config.kv_heads &&
         (config.kv_heads % sizes.blocks != 0 || transform_numbers(config, sizes.blocks) > room)) {
    ++sizes.blocks;
  }
  if (!options.token_width) {
    const std::int64_t widest = budget.bytes / tokens_part / bytes_of_number / config.vocabulary;
    sizes.token_width = std::min(sizes.token_width, widest / token_step * token_step);
  }
  if (fits(cost_of(config, sizes), budget)) return sizes;
  for (sizes.rank = (width_of(config) + 1) / rank_step * rank_step; sizes.rank > 0; sizes.rank -= rank_step) {
    if (fits(cost_of(config, sizes), budget)) return sizes;
  }
  sizes.rank = rank_step / 2;
  const Budget least = cost_of(config, sizes);
  if (fits(least, budget) || options.profile_bytes == 0) return sizes;
  return Error(ErrorCode::invalid_argument,
               fmt::format("a profile of {} bytes is too small for this model: it takes at least {}", budget.bytes,
                           std::max(least.bytes, bytes_of_number * least.products)));
}

Result<Sizes> choose_sizes(const ModelConfig& config, const CalibrateOptions& options) {
  const Budget budget = budget_of(config, options);
  SEQKV_ASSIGN(Sizes sizes, choose_lossy(config, options, budget));
  sizes.lossless = true;
  sizes.lossless = fits(cost_of(config, sizes), budget);
  return sizes;
}

}  // namespace seqkv::calibration
