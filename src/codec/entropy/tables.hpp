// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Static tables for rANS, made once and shared by all blocks: a table in each block would cost a short block more than
/// it saves.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "codec/entropy/symbols.hpp"
#include "seqkv/result.hpp"

namespace seqkv::codec {

using Frequencies = std::array<std::uint16_t, rans::symbols>;
using Counts = std::array<std::uint64_t, rans::symbols>;

/// The table that costs symbols with these counts the fewest bits, escapes included: symbols as rare as 1 in 22,700 and
/// those above them are escaped, since a slot of its own would cost all others more than it saves them; slots go one by
/// one to the symbol that gains most, which is optimal because costs are convex. Symbols below the last that is not
/// escaped can always be coded, whether counted or not. The same on every machine; ties go to the lowest symbol.
Frequencies optimal_frequencies(const Counts& counts);

/// Numbered tables in all the forms that kernels use, on the host.
class TableFamily {
 public:
  /// A table must have the sum 4096 and frequencies above 0 for its symbols 0 ... n - 1, n >= 2, and for no others.
  /// Errors: corrupt (a table that is none, with its number), invalid_argument (no table), limit_exceeded.
  static Result<TableFamily> create(std::vector<Frequencies> tables);

  /// `tables` tables for numbers that are rounded normal variables, 0, -1, 1, -2, 2, ... as symbols 0, 1, 2, ... Scales
  /// (in units of the rounding) grow evenly in their logarithms from `smallest` to `largest`; each table mixes
  /// 0.8, 1 and 1.25 of its scale as 1 : 2 : 1, since the variance inside of a block is not uniform.
  /// Precondition: 1 <= tables <= limits::max_tables, 0 < smallest <= largest.
  static TableFamily of_scales(int tables, double smallest, double largest);

  int tables() const { return static_cast<int>(frequencies_.size()); }
  const Frequencies& frequencies(int table) const { return frequencies_[static_cast<std::size_t>(table)]; }
  /// For kernels on the host; valid as long as this object.
  SymbolTables view() const;

 private:
  explicit TableFamily(std::vector<Frequencies> tables);

  std::vector<Frequencies> frequencies_;
  std::vector<rans::Slot> slots_;
  std::vector<rans::Code> codes_;
  std::vector<rans::Intervals> intervals_;
  std::vector<std::uint32_t> costs_;
  std::vector<std::uint16_t> alphabets_;
};

}  // namespace seqkv::codec
