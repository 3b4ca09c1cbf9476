// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// How often each symbol occurs, table by table, and the tables that follow.
#pragma once

#include <array>
#include <functional>
#include <vector>

#include "codec/entropy/tables.hpp"

namespace seqkv::calibration {

class SymbolCounts {
 public:
  using Tables = std::vector<std::array<double, codec::rans::symbols>>;

  /// All zero.
  explicit SymbolCounts(int tables) : counts_(static_cast<std::size_t>(tables)) {}

  /// Calls count(first, last, counts) for ranges of rows, on all cores; the sums are the same for any number of them.
  void add(std::int64_t rows, const std::function<void(std::int64_t first, std::int64_t last, Tables& counts)>& count);

  /// Each table begins with some symbols of its prior.
  std::vector<codec::Frequencies> make_tables(const codec::TableFamily& prior) const;

 private:
  Tables counts_;
};

}  // namespace seqkv::calibration
