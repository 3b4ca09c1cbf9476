// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// How often blocks are used: counts that outlive the blocks, for retention (docs/retention.md).
#pragma once

#include <span>

#include "store/store_state.hpp"

namespace seqkv::store {

/// What a block's count is filed under: 8 bytes of its identity, which no two of a store need share, and its codec. If
/// two ever did, one would be kept a little longer.
std::int64_t use_key(const Digest& identity, std::int64_t codec);

/// One use of each of these blocks, now. Inside the caller's transaction.
Result<void> count_uses(Database& database, std::span<const Digest> identities, std::int64_t codec);

/// Seconds since 1970.
double now();

}  // namespace seqkv::store
