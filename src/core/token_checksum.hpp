// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// What streams of tokens hold their tokens against.
#pragma once

#include <cstdint>

#include "core/bytes.hpp"
#include "seqkv/hash.hpp"
#include "seqkv/kv.hpp"

namespace seqkv {

/// The lower half of XXH3-64 over the ids.
inline std::uint32_t token_checksum(TokenSpan tokens) { return static_cast<std::uint32_t>(xxh3_64(as_bytes(tokens))); }

}  // namespace seqkv
