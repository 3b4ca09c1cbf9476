// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Checks on Result in tests.
#pragma once

#include <gtest/gtest.h>

#include <stdexcept>

#include "seqkv/result.hpp"

/// The expression succeeds, else the test ends with the error's words.
#define ASSERT_OK(expression)                                          \
  do {                                                                 \
    const auto& seqkv_result = (expression);                           \
    ASSERT_TRUE(seqkv_result.ok()) << seqkv_result.error().describe(); \
  } while (false)

/// The expression succeeds; the test goes on if not.
#define EXPECT_OK(expression)                                          \
  do {                                                                 \
    const auto& seqkv_result = (expression);                           \
    EXPECT_TRUE(seqkv_result.ok()) << seqkv_result.error().describe(); \
  } while (false)

/// The expression fails with this code.
#define EXPECT_CODE(expression, expected)                                                \
  do {                                                                                   \
    const auto& seqkv_result = (expression);                                             \
    EXPECT_FALSE(seqkv_result.ok());                                                     \
    if (!seqkv_result.ok()) {                                                            \
      EXPECT_EQ(seqkv_result.error().code, expected) << seqkv_result.error().describe(); \
    }                                                                                    \
  } while (false)

namespace seqkv::test {

/// The value of a Result that must not fail; throws the error's words, which ends the test.
template <class T>
T value_of(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().describe());
  return std::move(result).value();
}

/// The error of a Result that must fail; throws if it does not, which ends the test.
template <class T>
Error error_of(const Result<T>& result) {
  if (result) throw std::runtime_error("a success where an error was expected");
  return result.error();
}

}  // namespace seqkv::test
