// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Memory of the default device for benchmarks, and sizes that the environment gives.
#pragma once

#include <Kokkos_Core.hpp>
#include <cstdint>
#include <cstdlib>
#include <string>

namespace seqkv::bench {

using Space = Kokkos::DefaultExecutionSpace;
template <class T>
using Array = Kokkos::View<T*, Space::memory_space>;

inline std::int64_t number_of(const char* variable, std::int64_t otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::atoll(text);
}

template <class T>
Array<T> room(const std::string& label, std::int64_t count) {
  return Array<T>(Kokkos::view_alloc(Kokkos::WithoutInitializing, label), static_cast<std::size_t>(count));
}

}  // namespace seqkv::bench
