// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Whether an execution space reaches the memory of a view.
#pragma once

#include "core/mirrored.hpp"
#include "seqkv/kv.hpp"
#include "seqkv/result.hpp"

namespace seqkv {

/// Errors: invalid_argument (the memory of a device and a space of the host).
template <class ExecutionSpace>
Result<void> check_memory(MemorySpace memory) {
  if (memory == MemorySpace::host || !is_host_space<ExecutionSpace>) return {};
  return Error(ErrorCode::invalid_argument, "host memory is expected: the call runs on a host");
}

}  // namespace seqkv
