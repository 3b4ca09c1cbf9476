// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Results in benchmarks: an error ends the program with its words.
#pragma once

#include <cstdio>
#include <cstdlib>

#include "seqkv/result.hpp"

namespace seqkv::bench {

[[noreturn]] inline void fail(const Error& error) {
  std::fprintf(stderr, "%s\n", error.describe().c_str());
  std::exit(exit_code(error.code));
}

template <class T>
T value_of(Result<T> result) {
  if (!result) fail(result.error());
  return std::move(*result);
}

inline void check(const Result<void>& result) {
  if (!result) fail(result.error());
}

}  // namespace seqkv::bench
