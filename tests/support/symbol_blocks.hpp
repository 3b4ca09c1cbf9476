// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Symbol blocks for tests.
#pragma once

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "codec/entropy/tables.hpp"

namespace seqkv::test {

using Bytes = std::vector<std::byte>;
using Symbols = std::vector<std::uint8_t>;

/// Zigzag symbols of normal numbers; `wild` in 1000 of them are anything.
inline Symbols draw(double scale, std::int64_t count, int wild, std::mt19937& random) {
  std::normal_distribution<double> normal(0, scale);
  Symbols symbols(static_cast<std::size_t>(count));
  for (auto& symbol : symbols) {
    const auto q = std::clamp(std::lround(normal(random)), -127L, 127L);
    symbol = static_cast<std::uint8_t>(q >= 0 ? 2 * q : -2 * q - 1);
    if (static_cast<int>(random() % 1000) < wild) symbol = static_cast<std::uint8_t>(random());
  }
  return symbols;
}

/// A block and what it points to.
struct BlockOf {
  Symbols symbols;
  std::int64_t runs = 1;
  Symbols classes = {0};
  int least_choice = 0;
  int choices = 1;
  Bytes coded;

  codec::SymbolBlock view() {
    return {
        symbols.data(), runs,         static_cast<std::int64_t>(symbols.size()) / runs, classes.data(), least_choice,
        choices,        coded.data(), static_cast<std::int64_t>(coded.size())};
  }
};

/// Blocks of many shapes: short and long, of one class and of many, constant, noise, with and without escapes.
inline std::vector<BlockOf> varied_blocks(const codec::TableFamily& family, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<BlockOf> blocks;
  for (std::int64_t size : {1, 5, 31, 32, 33, 64, 100, 255, 256, 1000, 4095, 4096, 4097, 9000}) {
    for (int wild : {0, 2, 300, 1000}) {
      const double scale = 0.1 * std::pow(2.0, random() % 9);
      blocks.push_back({draw(scale, size, wild, random), 1, {0}, 0, family.tables(), {}});
    }
  }
  for (std::int64_t runs : {2, 7, 64}) {
    BlockOf block{{}, runs, {}, -3, 7, {}};
    for (std::int64_t r = 0; r < runs; ++r) {
      block.classes.push_back(static_cast<std::uint8_t>(r * family.tables() / runs));
      const double scale = 0.25 * std::pow(256.0, static_cast<double>(r) / static_cast<double>(runs));
      const Symbols run = draw(1.3 * scale, 97, r % 3 == 0 ? 5 : 0, random);
      block.symbols.insert(block.symbols.end(), run.begin(), run.end());
    }
    blocks.push_back(block);
  }
  for (std::uint8_t constant : {0, 1, 7, 255}) blocks.push_back({Symbols(300, constant), 3, {0, 9, 200}, 0, 4, {}});
  return blocks;
}

}  // namespace seqkv::test
