// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Steps of a forward pass that rounds as an engine does, portable: one thread a row.
#pragma once

#include <Kokkos_Core.hpp>

#include "model/rounded.hpp"

namespace seqkv::kokkos {

template <class Args>
struct RoundedRows {
  Args args;
  KOKKOS_FUNCTION void operator()(const std::int64_t m) const { kernels::rounded_row(args, m); }
};

template <class ExecutionSpace, class Args>
void rounded(const ExecutionSpace& space, const char* label, std::int64_t rows, const Args& args) {
  using Policy = Kokkos::RangePolicy<ExecutionSpace, Kokkos::IndexType<std::int64_t>>;
  Kokkos::parallel_for(label, Policy(space, 0, rows), RoundedRows<Args>{args});
}

}  // namespace seqkv::kokkos
