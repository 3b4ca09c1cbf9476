// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Records against tampering and prying (docs/store.md, "Keys"): HMAC-SHA-256, or AES-256-GCM. One Seal serves all
/// records of a store; it may be used by several threads.
#pragma once

#include <cstddef>
#include <filesystem>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "seqkv/hash.hpp"
#include "seqkv/result.hpp"
#include "seqkv/store.hpp"

namespace seqkv::store {

/// Bytes of a seal in a record: a tag, or nonce, tag and zeros.
inline constexpr std::size_t seal_bytes = 32;

/// HMAC-SHA-256 over the parts one after the other.
Digest hmac_sha256(std::span<const std::byte> key, std::initializer_list<std::span<const std::byte>> parts);

class Seal {
 public:
  /// Of a store without protection.
  Seal() = default;
  /// The key is what the caller's file holds; what is used is derived from it and the id of the store.
  Seal(Protection protection, std::span<const std::byte> key, const Digest& store_id);

  Protection protection() const noexcept { return protection_; }
  bool active() const noexcept { return protection_ != Protection::none; }
  bool encrypts() const noexcept { return protection_ == Protection::encrypted; }
  std::size_t bytes() const noexcept { return active() ? seal_bytes : 0; }

  /// Seals a record: `head` as it is, `payload` and `body` encrypted in place where the store is encrypted.
  /// Errors: io (no random numbers), internal.
  Result<void> close(std::span<const std::byte> head, std::span<std::byte> seal, std::span<std::byte> payload,
                     std::span<std::byte> body) const;
  /// Whether the seal is the HMAC of the other parts, of a store that is not encrypted.
  bool is_authentic(std::span<const std::byte> head, std::span<const std::byte> seal,
                    std::span<const std::byte> payload, std::span<const std::byte> body) const;
  /// Decrypts in place; false if the record is not one that the key sealed. What is in the spans is then worthless.
  bool open(std::span<const std::byte> head, std::span<const std::byte> seal, std::span<std::byte> payload,
            std::span<std::byte> body) const;

  /// A digest that only who has the key can make; of the text alone in a store without protection.
  Digest sign(std::string_view text) const;
  /// The salt with which identities begin: of an encrypted store nobody can tell tokens from identities without the
  /// key.
  std::string mix(std::string_view salt) const;

 private:
  Protection protection_ = Protection::none;
  Digest authentication_;
  Digest encryption_;
  Digest identity_;
};

}  // namespace seqkv::store
