// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Tests that sample in daily use, and go through everything with SEQKV_TEST_THOROUGH=1.
#pragma once

#include <cstdlib>

namespace seqkv::test {

inline bool thorough() {
  const char* value = std::getenv("SEQKV_TEST_THOROUGH");
  return value != nullptr && *value != '\0' && *value != '0';
}

/// `few`, or `all` where everything is wanted.
template <class T>
T sample(T few, T all) {
  return thorough() ? all : few;
}

}  // namespace seqkv::test
