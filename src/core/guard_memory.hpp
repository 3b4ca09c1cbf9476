// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Failed allocations as errors: no exception leaves the library for want of memory.
#pragma once

#include <new>
#include <stdexcept>
#include <string>
#include <string_view>

#include "seqkv/result.hpp"

namespace seqkv {

/// What `work` returns, a Result; or out_of_memory with `purpose` ("no memory for a batch of blocks") where it could
/// not allocate. Not for use inside of a parallel region, which exceptions must not leave.
template <class Work>
auto guard_memory(std::string_view purpose, const Work& work) -> decltype(work()) {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return Error(ErrorCode::out_of_memory, "no memory " + std::string(purpose));
  } catch (const std::runtime_error& problem) {
    // Kokkos has no type of its own for it.
    const std::string_view words(problem.what());
    if (words.find("failed to allocate") == std::string_view::npos) throw;
    return Error(ErrorCode::out_of_memory, "no memory " + std::string(purpose) + " (" + std::string(words) + ")");
  }
}

}  // namespace seqkv
