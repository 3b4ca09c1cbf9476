// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Where tests make files fail: every step that reaches the disk asks here first.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace seqkv::io {

enum class Step : std::uint8_t { create, read, write, sync, truncate, rename, remove };

/// The errno that a step is to fail with, or 0. `bytes` of reads and writes may be made fewer: the system may do that.
using FaultPlan = int (*)(Step step, std::size_t& bytes);

/// Null but in tests.
inline std::atomic<FaultPlan> fault_plan{nullptr};

inline int fault(Step step, std::size_t& bytes) noexcept {
  const FaultPlan plan = fault_plan.load(std::memory_order_relaxed);
  return plan == nullptr ? 0 : plan(step, bytes);
}
inline int fault(Step step) noexcept {
  std::size_t bytes = 0;
  return fault(step, bytes);
}

}  // namespace seqkv::io
