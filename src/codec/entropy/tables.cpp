// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "codec/entropy/tables.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <queue>

#include "core/detmath.hpp"
#include "seqkv/limits.hpp"

namespace seqkv::codec {
namespace {

/// What a symbol gains by one slot more: bits saved over all its occurrences.
struct Gain {
  double bits;
  int symbol;

  friend bool operator<(const Gain& a, const Gain& b) {
    return a.bits != b.bits ? a.bits < b.bits : a.symbol > b.symbol;
  }
};

Gain gain_of(const Counts& counts, const Frequencies& frequencies, int symbol) {
  const double frequency = frequencies[static_cast<std::size_t>(symbol)];
  const auto count = static_cast<double>(counts[static_cast<std::size_t>(symbol)]);
  return {count * detmath::log2((frequency + 1) / frequency), symbol};
}

/// The integral of the normal density from -infinity to x: its Taylor series, to about 1e-15 for |x| <= 6.
double normal_cdf(double x) {
  if (x < -6) return 0;
  if (x > 6) return 1;
  double term = x;
  double sum = x;
  for (int k = 1; k < 200; ++k) {
    term = term * x * x / (2 * k + 1);
    sum += term;
  }
  constexpr double inverse_ln2 = 1.44269504088896340736;
  constexpr double density_at_0 = 0.39894228040143267794;
  return 0.5 + density_at_0 * detmath::exp2(-0.5 * x * x * inverse_ln2) * sum;
}

/// Probability that a normal variable of scale s rounds to q.
double rounded_normal(double q, double s) { return normal_cdf((q + 0.5) / s) - normal_cdf((q - 0.5) / s); }

Frequencies mixture(double scale) {
  constexpr double unit = 1e15;  // counts are integers
  Counts counts{};
  for (int s = 0; s < rans::symbols; ++s) {
    const double q = s % 2 == 0 ? s / 2 : -(s + 1) / 2;
    const double p =
        0.5 * rounded_normal(q, scale) + 0.25 * (rounded_normal(q, 0.8 * scale) + rounded_normal(q, 1.25 * scale));
    counts[static_cast<std::size_t>(s)] = static_cast<std::uint64_t>(p * unit);
  }
  return optimal_frequencies(counts);
}

/// Symbols of a table, or 0 if it is none.
int alphabet_of(const Frequencies& frequencies) {
  int alphabet = 0;
  while (alphabet < rans::symbols && frequencies[static_cast<std::size_t>(alphabet)] > 0) ++alphabet;
  const std::uint32_t sum = std::accumulate(frequencies.begin(), frequencies.begin() + alphabet, 0U);
  const bool no_others = std::all_of(frequencies.begin() + alphabet, frequencies.end(), [](auto f) { return f == 0; });
  return sum == rans::total && no_others && alphabet >= 2 ? alphabet : 0;
}

std::uint32_t cost_of(std::uint16_t frequency) {
  return static_cast<std::uint32_t>(detmath::log2(static_cast<double>(rans::total) / frequency) * cost_of_bit + 0.5);
}

}  // namespace

Frequencies optimal_frequencies(const Counts& counts) {
  // A slot is 1/4096 of the mass, which costs log2(e) / 4096 bits a symbol; an escape costs 8 bits more than a symbol.
  constexpr std::uint64_t rare = 22'700;
  const std::uint64_t all = std::accumulate(counts.begin(), counts.end(), std::uint64_t{0});
  int last = 0;
  for (int s = 0; s < rans::symbols; ++s) {
    if (counts[static_cast<std::size_t>(s)] > all / rare) last = s;
  }
  const int alphabet = std::min(last + 2, rans::symbols);
  Counts coded{};
  for (int s = 0; s < rans::symbols; ++s) {
    coded[static_cast<std::size_t>(std::min(s, alphabet - 1))] += counts[static_cast<std::size_t>(s)];
  }
  Frequencies frequencies{};
  std::priority_queue<Gain> gains;
  for (int s = 0; s < alphabet; ++s) {
    frequencies[static_cast<std::size_t>(s)] = 1;
    gains.push(gain_of(coded, frequencies, s));
  }
  for (auto left = static_cast<int>(rans::total) - alphabet; left > 0; --left) {
    const int symbol = gains.top().symbol;
    gains.pop();
    ++frequencies[static_cast<std::size_t>(symbol)];
    gains.push(gain_of(coded, frequencies, symbol));
  }
  return frequencies;
}

TableFamily::TableFamily(std::vector<Frequencies> tables) : frequencies_(std::move(tables)) {
  const std::size_t count = frequencies_.size();
  slots_.resize(count * rans::total);
  codes_.resize(count * rans::symbols);
  intervals_.resize(count);
  costs_.resize(count * rans::symbols);
  for (std::size_t t = 0; t < count; ++t) {
    const Frequencies& table = frequencies_[t];
    rans::fill_slots(table.data(), &slots_[t * rans::total]);
    rans::fill_codes(table.data(), &codes_[t * rans::symbols]);
    rans::fill_intervals(table.data(), intervals_[t]);
    const auto alphabet = static_cast<std::size_t>(alphabet_of(table));
    alphabets_.push_back(static_cast<std::uint16_t>(alphabet));
    for (std::size_t s = 0; s < rans::symbols; ++s) {
      const bool is_escaped = alphabet < rans::symbols && s + 1 >= alphabet;
      costs_[t * rans::symbols + s] = cost_of(table[std::min(s, alphabet - 1)]) + (is_escaped ? 8 * cost_of_bit : 0);
    }
  }
}

Result<TableFamily> TableFamily::create(std::vector<Frequencies> tables) {
  if (tables.empty()) return Error(ErrorCode::invalid_argument, "a family without tables");
  if (static_cast<std::int64_t>(tables.size()) > limits::max_tables) {
    return Error(ErrorCode::limit_exceeded, fmt::format("{} tables, at most {}", tables.size(), limits::max_tables));
  }
  for (std::size_t t = 0; t < tables.size(); ++t) {
    if (alphabet_of(tables[t]) > 0) continue;
    return Error(
        ErrorCode::corrupt,
        fmt::format("table {}: frequencies must be above 0 for symbols 0, 1, ... and 0 for all behind them, and "
                    "add up to {}",
                    t, rans::total));
  }
  return TableFamily(std::move(tables));
}

TableFamily TableFamily::of_scales(int tables, double smallest, double largest) {
  std::vector<Frequencies> all;
  const double step = tables > 1 ? detmath::log2(largest / smallest) / (tables - 1) : 0;
  for (int t = 0; t < tables; ++t) all.push_back(mixture(smallest * detmath::exp2(step * t)));
  return TableFamily(std::move(all));
}

SymbolTables TableFamily::view() const {
  return {slots_.data(), codes_.data(), intervals_.data(), costs_.data(), alphabets_.data(), tables()};
}

}  // namespace seqkv::codec
