// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "store/identity.hpp"

#include <algorithm>

namespace seqkv::store {

Digest root_identity(std::string_view salt, const Digest& model) {
  return Sha256()
      .update("seqkv prefix 1")
      .update(static_cast<std::uint64_t>(salt.size()))
      .update(salt)
      .update(model.bytes)
      .finish();
}

Digest lone_root_identity(const Digest& root, const Digest& nonce) {
  return Sha256().update("seqkv session alone").update(root.bytes).update(nonce.bytes).finish();
}

Digest tenant_identity(const Digest& root) { return Sha256().update("seqkv tenant").update(root.bytes).finish(); }

Digest block_identity(const Digest& parent, TokenSpan tokens) {
  return Sha256().update(parent.bytes).update(std::as_bytes(tokens)).finish();
}

std::vector<Digest> block_identities(const Digest& root, TokenSpan tokens, std::int64_t block_tokens) {
  std::vector<Digest> identities;
  Digest parent = root;
  const auto size = static_cast<std::size_t>(block_tokens);
  for (std::size_t first = 0; first < tokens.size(); first += size) {
    parent = block_identity(parent, tokens.subspan(first, std::min(size, tokens.size() - first)));
    identities.push_back(parent);
  }
  return identities;
}

}  // namespace seqkv::store
