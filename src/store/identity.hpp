// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Identities of blocks: a SHA-256 chain over everything before them.
#pragma once

#include <vector>

#include "seqkv/hash.hpp"
#include "seqkv/kv.hpp"

namespace seqkv::store {

/// What the chain starts from. A salt of one tenant keeps its blocks from being shared with, or probed by, others.
Digest root_identity(std::string_view salt, const Digest& model);

/// The root of a session whose blocks are nobody else's: values that came from elsewhere are not known to be those
/// that the model computes from the tokens. The nonce is random, and the same for forks of the session.
Digest lone_root_identity(const Digest& root, const Digest& nonce);

/// What sessions of one root are filed under; it does not tell the root.
Digest tenant_identity(const Digest& root);

/// Of the block with these tokens behind the block (or root) `parent`.
Digest block_identity(const Digest& parent, TokenSpan tokens);

/// Of every block of a sequence; the last may be shorter.
std::vector<Digest> block_identities(const Digest& root, TokenSpan tokens, std::int64_t block_tokens);

}  // namespace seqkv::store
