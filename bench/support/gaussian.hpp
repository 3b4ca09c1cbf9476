// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Quantized Gaussian numbers of a given entropy, as symbols 0, 1, 2, ... for 0, -1, 1, -2, ...
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

namespace seqkv::bench {

using Bytes = std::vector<std::uint8_t>;

/// Bits of entropy of a normal variable of scale sigma, rounded.
inline double entropy_of_sigma(double sigma) {
  double bits = 0;
  for (int q = -1000; q <= 1000; ++q) {
    const double p =
        0.5 * (std::erf((q + 0.5) / (sigma * std::sqrt(2.0))) - std::erf((q - 0.5) / (sigma * std::sqrt(2.0))));
    if (p > 0) bits -= p * std::log2(p);
  }
  return bits;
}

inline double sigma_of_entropy(double bits) {
  double low = 0.01;
  double high = 200;
  for (int i = 0; i < 60; ++i) {
    const double middle = std::sqrt(low * high);
    (entropy_of_sigma(middle) < bits ? low : high) = middle;
  }
  return low;
}

inline Bytes quantized_gaussian(double sigma, std::size_t count, unsigned seed) {
  std::mt19937_64 engine(seed);
  std::normal_distribution<float> normal(0, static_cast<float>(sigma));
  Bytes symbols(count);
  for (auto& symbol : symbols) {
    const auto q = std::min(std::max(static_cast<int>(std::lround(normal(engine))), -127), 127);
    symbol = static_cast<std::uint8_t>(q >= 0 ? 2 * q : -2 * q - 1);
  }
  return symbols;
}

}  // namespace seqkv::bench
