// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// What tests of retention share.
#pragma once

#include "seqkv/retention.hpp"

namespace seqkv::test {

inline constexpr RetentionPolicy policies[] = {RetentionPolicy::value, RetentionPolicy::lru, RetentionPolicy::lfu,
                                               RetentionPolicy::gdsf};

}  // namespace seqkv::test
