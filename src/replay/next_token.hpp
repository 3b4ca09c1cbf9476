// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// From rows of logits to intervals and back, in the memory of an execution space: only the few numbers that coders
/// need come to the host.
#pragma once

#include <Kokkos_Core.hpp>

#include "backends/cpu/launch_frequencies.hpp"
#include "backends/kokkos/frequencies.hpp"
#include "core/mirrored.hpp"
#include "core/range_coder.hpp"
#include "seqkv/forward.hpp"

namespace seqkv::replay {

using kokkos::TokenInterval;

template <class ExecutionSpace>
class NextToken {
 public:
  /// Rows of logits at a time.
  void reserve(std::int64_t rows, std::int64_t vocabulary) {
    args_.vocabulary = vocabulary;
    frequency_ = Numbers(Kokkos::view_alloc(Kokkos::WithoutInitializing, "seqkv::replay::frequency"),
                         static_cast<std::size_t>(rows * vocabulary));
    group_ = Numbers(Kokkos::view_alloc(Kokkos::WithoutInitializing, "seqkv::replay::group"),
                     static_cast<std::size_t>(rows * args_.groups()));
    total_.reserve("seqkv::replay::total", rows);
    found_.reserve("seqkv::replay::found", rows);
    args_.frequency = frequency_.data();
    args_.group = group_.data();
    args_.total = total_.device();
  }

  /// The frequencies of the first `rows` rows; totals come to the host. Fences.
  void prepare(const ExecutionSpace& space, std::int64_t rows, const Matrix<ExecutionSpace>& logits) {
    args_.rows = rows;
    args_.logits = logits.data();
    args_.ld_logits = static_cast<std::int64_t>(logits.stride(0));
    bool done = false;
    if constexpr (is_host_space<ExecutionSpace>) {
      if (const cpu::Kernels* best = cpu::kernels()) {
        cpu::frequencies(*best, space, args_);
        done = true;
      }
    }
    if (!done) kokkos::frequencies(space, args_);
    total_.to_host(space, rows);
    space.fence("seqkv::replay::frequencies: the totals are read");
  }

  std::uint64_t total(std::int64_t row) const { return total_[row]; }
  /// In and out of intervals() and tokens(), by row.
  TokenInterval& operator[](std::int64_t row) const { return found_[row]; }
  Interval interval(std::int64_t row) const { return {found_[row].start, found_[row].width}; }

  /// From tokens to their intervals. Fences.
  void intervals(const ExecutionSpace& space) const {
    run(space, "seqkv::replay::intervals", kokkos::IntervalOfToken{args_, found_.device()});
  }
  /// From points (in place of starts) to tokens and intervals. Fences.
  void tokens(const ExecutionSpace& space) const {
    run(space, "seqkv::replay::tokens", kokkos::TokenAtPoint{args_, found_.device()});
  }

 private:
  using Numbers = Kokkos::View<std::uint32_t*, typename ExecutionSpace::memory_space>;

  template <class Kernel>
  void run(const ExecutionSpace& space, const char* label, const Kernel& kernel) const {
    using Policy = Kokkos::RangePolicy<ExecutionSpace, Kokkos::IndexType<std::int64_t>>;
    found_.to_device(space, args_.rows);
    Kokkos::parallel_for(label, Policy(space, 0, args_.rows), kernel);
    found_.to_host(space, args_.rows);
    space.fence("seqkv::replay: what was found is read");
  }

  kernels::Frequencies args_;
  Numbers frequency_, group_;
  Mirrored<ExecutionSpace, std::uint32_t> total_;
  Mirrored<ExecutionSpace, TokenInterval> found_;
};

}  // namespace seqkv::replay
