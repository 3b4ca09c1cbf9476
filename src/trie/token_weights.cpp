// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "trie/token_weights.hpp"

#include <algorithm>
#include <cstring>

#include "core/guard_memory.hpp"
#include "core/try.hpp"
#include "trie/image.hpp"

namespace seqkv {
namespace trie {

std::vector<std::uint16_t> default_token_weights(std::uint32_t depth_limit) {
  constexpr std::array<unsigned, size_classes> count = {1, 2, 3, 4, 7, 12, 22, 64, 256};
  constexpr std::array<unsigned, variety_classes> variety = {1, 2, 3, 5, 10, 24};
  constexpr unsigned one = 1U << 16U;
  std::vector<std::uint16_t> weights;
  for (std::uint32_t length = 0; length < depth_limit; ++length) {
    for (int counts = 0; counts < 3; ++counts) {
      for (const unsigned c : count) {
        for (const unsigned q : variety) {
          const unsigned weight = one * q / (2 * c);
          weights.push_back(
              static_cast<std::uint16_t>(std::clamp<unsigned>(weight, min_token_weight, max_token_weight)));
        }
      }
    }
    for (unsigned run = 0; run < 3; ++run) weights.insert(weights.end(), size_classes, one / (run + 2));
  }
  return weights;
}

bool weights_are_valid(std::span<const std::uint16_t> weights) {
  return std::ranges::all_of(weights, [](std::uint16_t w) { return w >= min_token_weight && w <= max_token_weight; });
}

}  // namespace trie

Result<Trie> with_weights(const Trie& trie, std::span<const std::uint16_t> weights) {
  TrieShape shape = trie.shape();
  if (shape.kind != TrieKind::windows) {
    return Error(ErrorCode::invalid_argument, "weights belong to a trie of windows, this one is of sessions");
  }
  if (!weights.empty() && weights.size() != token_weight_count(shape.depth_limit)) {
    return Error(ErrorCode::invalid_argument, "the number of weights is not that of the trie's depth");
  }
  if (!trie::weights_are_valid(weights)) {
    return Error(ErrorCode::invalid_argument, "a weight is outside of its range");
  }
  return guard_memory("for a trie with weights", [&]() -> Result<Trie> {
    shape.weights = static_cast<std::uint32_t>(weights.size());
    SEQKV_ASSIGN(trie::Image image, trie::Image::allocate(shape));
    // Weights are the last array: those before lie where they lay.
    std::memcpy(image.data(), trie.image().data(), trie::Layout(shape).weight);
    std::ranges::copy(weights, image.arrays().weight);
    return std::move(image).finish();
  });
}

}  // namespace seqkv
