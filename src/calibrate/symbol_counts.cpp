// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "calibrate/symbol_counts.hpp"

#include <map>
#include <mutex>

#include "calibrate/products.hpp"

namespace seqkv::calibration {

void SymbolCounts::add(std::int64_t rows,
                       const std::function<void(std::int64_t first, std::int64_t last, Tables& counts)>& count) {
  std::map<std::int64_t, Tables> parts;  // by their first row; added up in this order
  std::mutex mutex;
  for_row_ranges(rows, [&](std::int64_t first, std::int64_t last) {
    Tables counts(counts_.size());
    count(first, last, counts);
    const std::lock_guard lock(mutex);
    parts[first] = std::move(counts);
  });
  for (const auto& [first, counts] : parts) {
    for (std::size_t t = 0; t < counts.size(); ++t) {
      for (std::size_t s = 0; s < counts[t].size(); ++s) counts_[t][s] += counts[t][s];
    }
  }
}

std::vector<codec::Frequencies> SymbolCounts::make_tables(const codec::TableFamily& prior) const {
  constexpr double prior_symbols = 64;
  constexpr double unit = 256;  // counts are integers
  std::vector<codec::Frequencies> out;
  for (std::size_t t = 0; t < counts_.size(); ++t) {
    codec::Counts counts{};
    for (std::size_t s = 0; s < counts.size(); ++s) {
      const double expected = prior_symbols * prior.frequencies(static_cast<int>(t))[s] / codec::rans::total;
      counts[s] = static_cast<std::uint64_t>((counts_[t][s] + expected) * unit);
    }
    out.push_back(codec::optimal_frequencies(counts));
  }
  return out;
}

}  // namespace seqkv::calibration
