// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Passing errors up without ceremony.
#pragma once

#include "seqkv/result.hpp"

#define SEQKV_CONCAT_(a, b) a##b
#define SEQKV_CONCAT(a, b) SEQKV_CONCAT_(a, b)

/// Evaluates a Result<void>; returns its error from the enclosing function.
#define SEQKV_TRY(expression)                                                                                    \
  do {                                                                                                           \
    if (auto seqkv_result = (expression); !seqkv_result) return ::seqkv::Error(std::move(seqkv_result).error()); \
  } while (false)

/// Evaluates a Result<T>; returns its error, or initializes `declaration` with its value.
#define SEQKV_ASSIGN(declaration, expression) \
  SEQKV_ASSIGN_(declaration, expression, SEQKV_CONCAT(seqkv_result_, __LINE__))
#define SEQKV_ASSIGN_(declaration, expression, name)         \
  auto name = (expression);                                  \
  if (!name) return ::seqkv::Error(std::move(name).error()); \
  declaration = std::move(name).value()
