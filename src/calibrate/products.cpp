// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "calibrate/products.hpp"

#include <Kokkos_Core.hpp>
#include <algorithm>

#include "backends/gemm.hpp"

namespace seqkv::calibration {
namespace {

using Host = Kokkos::DefaultHostExecutionSpace;
using kernels::panel_width;

constexpr std::int64_t chain = 512;  ///< rows that are summed in float, or made at a time
constexpr std::int64_t strip = 128;  ///< columns that are multiplied with those before them

template <class Work>
void parallel(const char* label, const Host& space, std::int64_t count, const Work& work) {
  cpu::for_each_piece(label, space, count, work);
}

/// `count` rows of `from`, the first of them `first`.
void make_rows(const Host& space, const Rows& from, std::int64_t first, std::int64_t count, Floats& out) {
  constexpr std::int64_t some = 16;
  parallel("seqkv::calibrate::make_rows", space, (count + some - 1) / some, [&](std::int64_t piece) {
    const std::int64_t last = std::min(count, (piece + 1) * some);
    for (std::int64_t r = piece * some; r < last; ++r) from.write(first + r, out.row(r));
  });
  space.fence("seqkv::calibrate::make_rows");
}

PackedFloats pack(const Dense& a) { return PackedFloats::pack(a.rows, a.columns, {a.values.begin(), a.values.end()}); }

}  // namespace

void for_row_ranges(std::int64_t rows, const std::function<void(std::int64_t, std::int64_t)>& work) {
  const Host space;
  const std::int64_t pieces = (rows + chain - 1) / chain;
  parallel("seqkv::calibrate::rows", space, pieces,
           [&](std::int64_t piece) { work(piece * chain, std::min(rows, (piece + 1) * chain)); });
  space.fence("seqkv::calibrate::rows");
}

Floats multiply(const Floats& a, const PackedFloats& b) {
  const Host space;
  Floats out(a.rows, b.outputs);
  gemm(space, {a.rows, a.memory.data(), a.ld, b.view(b.panels.data()), out.memory.data(), out.ld});
  space.fence("seqkv::calibrate::multiply");
  return out;
}

Floats multiply(const Rows& a, const PackedFloats& b) {
  const Host space;
  Floats out(a.rows, b.outputs);
  Floats some(std::min(chain, a.rows), a.columns);
  for (std::int64_t first = 0; first < a.rows; first += chain) {
    const std::int64_t rows = std::min(chain, a.rows - first);
    make_rows(space, a, first, rows, some);
    gemm(space, {rows, some.memory.data(), some.ld, b.view(b.panels.data()), out.row(first), out.ld});
    space.fence("seqkv::calibrate::multiply");
  }
  return out;
}

Floats multiply(const Floats& a, const Dense& b) { return multiply(a, pack(b)); }
Floats multiply(const Rows& a, const Dense& b) { return multiply(a, pack(b)); }

Dense gram(const Rows& a, std::span<const float> weights, std::int64_t first_column) {
  const Host space;
  const std::int64_t columns = a.columns;
  const std::int64_t panels = (columns + panel_width - 1) / panel_width;
  Dense out(columns, columns);
  HostArray<float> packed(static_cast<std::size_t>(panels * chain * panel_width));
  HostArray<float> turned(static_cast<std::size_t>(panels * panel_width * chain));
  HostArray<float> sums(static_cast<std::size_t>(columns * panels * panel_width));
  const std::int64_t ld_sums = panels * panel_width;
  Floats some(std::min(chain, a.rows), columns);
  for (std::int64_t first = 0; first < a.rows; first += chain) {
    const std::int64_t rows = std::min(chain, a.rows - first);
    make_rows(space, a, first, rows, some);
    parallel("seqkv::calibrate::pack", space, panels, [&](std::int64_t p) {
      for (std::int64_t r = 0; r < rows; ++r) {
        const float weight = weights[static_cast<std::size_t>(first + r)];
        const float* from = some.row(r) + p * panel_width;
        for (std::int64_t i = 0; i < panel_width; ++i) {
          const float value = p * panel_width + i < columns ? from[i] : 0.0F;
          packed[static_cast<std::size_t>((p * rows + r) * panel_width + i)] = value;
          turned[static_cast<std::size_t>((p * panel_width + i) * rows + r)] = value * weight;
        }
      }
    });
    space.fence("seqkv::calibrate::pack");
    // Column j with the columns up to its strip's last: the rest is the same mirrored.
    for (std::int64_t j = first_column / strip * strip; j < columns; j += strip) {
      const std::int64_t last = std::min(columns, j + strip);
      gemm(space, {last, turned.data(), rows, kernels::PackedMatrix{packed.data() + j * rows, false, last - j, rows},
                   sums.data() + j, ld_sums});
    }
    space.fence("seqkv::calibrate::gram");
    parallel("seqkv::calibrate::add", space, columns, [&](std::int64_t i) {
      for (std::int64_t j = std::max(i, first_column) / strip * strip; j < columns; ++j)
        out(i, j) += sums[static_cast<std::size_t>(i * ld_sums + j)];
    });
    space.fence("seqkv::calibrate::add");
  }
  for (std::int64_t i = 0; i < columns; ++i) {
    for (std::int64_t j = 0; j < i; ++j) out(i, j) = out(j, i);
  }
  return out;
}

std::vector<double> weighted_sum(const Rows& a, std::span<const float> weights) {
  const std::int64_t pieces = (a.rows + chain - 1) / chain;
  Floats sums(pieces, a.columns);
  for_row_ranges(a.rows, [&](std::int64_t first, std::int64_t last) {
    float* out = sums.row(first / chain);
    std::fill(out, out + a.columns, 0.0F);
    std::vector<float> row(static_cast<std::size_t>(a.columns));
    for (std::int64_t r = first; r < last; ++r) {
      const float weight = weights[static_cast<std::size_t>(r)];
      a.write(r, row.data());
      for (std::size_t i = 0; i < row.size(); ++i) out[i] += weight * row[i];
    }
  });
  std::vector<double> total(static_cast<std::size_t>(a.columns));
  for (std::int64_t p = 0; p < pieces; ++p) {
    for (std::int64_t i = 0; i < a.columns; ++i) total[static_cast<std::size_t>(i)] += sums.row(p)[i];
  }
  return total;
}

}  // namespace seqkv::calibration
