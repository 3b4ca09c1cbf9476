// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The large sums of calibration, on all cores and the same to the bit for any number of them. No Kokkos here.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "calibrate/solve.hpp"
#include "codec/predict/profile.hpp"
#include "core/host_memory.hpp"

namespace seqkv::calibration {

/// Floats [rows][columns], rows `ld` apart.
struct Floats {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t ld = 0;
  HostArray<float> memory;

  Floats() = default;
  Floats(std::int64_t r, std::int64_t c)
      : rows(r), columns(c), ld((c + 31) / 32 * 32), memory(static_cast<std::size_t>(r * ld)) {}
  float* row(std::int64_t r) { return memory.data() + r * ld; }
  const float* row(std::int64_t r) const { return memory.data() + r * ld; }
};

/// Rows that are made when they are asked for: all of them at once would not fit memory.
struct Rows {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::function<void(std::int64_t row, float* out)> write;

  Rows(std::int64_t r, std::int64_t c, std::function<void(std::int64_t, float*)> writer)
      : rows(r), columns(c), write(std::move(writer)) {}
  /// Those that are there. They must outlive this.
  Rows(const Floats& x)  // NOLINT(google-explicit-constructor): a matrix is rows
      : rows(x.rows),
        columns(x.columns),
        write([&x](std::int64_t row, float* out) { std::copy(x.row(row), x.row(row) + x.columns, out); }) {}
};

/// Calls work(first, last) for ranges of rows, on all cores; ranges are the same for any number of them.
void for_row_ranges(std::int64_t rows, const std::function<void(std::int64_t first, std::int64_t last)>& work);

/// out[r][n] = sum over k < b.inputs of a[r][k] b[n][k].
Floats multiply(const Floats& a, const PackedFloats& b);
Floats multiply(const Floats& a, const Dense& b);
Floats multiply(const Rows& a, const PackedFloats& b);
Floats multiply(const Rows& a, const Dense& b);

/// Sum over rows of weight * a_i * a_j, for all columns i and for j from `first` on (0: all pairs). Chains of 512 rows
/// in float, these added up in double.
Dense gram(const Rows& a, std::span<const float> weights, std::int64_t first = 0);

/// Sum over rows of weight * a_i.
std::vector<double> weighted_sum(const Rows& a, std::span<const float> weights);

}  // namespace seqkv::calibration
