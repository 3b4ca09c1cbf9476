// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// How the arrays of a trie lie in one piece of memory, which is also the body of its file (docs/trie.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "seqkv/result.hpp"
#include "seqkv/trie.hpp"

namespace seqkv::trie {

inline constexpr std::uint64_t alignment = 64;

/// Where each array starts and how wide its numbers are. All of it follows from the shape.
struct Layout {
  explicit Layout(const TrieShape& shape);

  unsigned token_bytes, child_bytes, label_bytes, below_bytes;
  std::uint64_t token, label_token, child, label, below, session, token_surprisal, label_surprisal, weight;
  std::uint64_t bytes;
};

/// Numbers that are written once, in 4 or 8 bytes (or 2 or 4 for tokens).
template <class Narrow, class Wide>
struct MutableArray {
  Narrow* narrow = nullptr;
  Wide* wide = nullptr;

  SEQKV_INLINE void set(std::uint64_t i, std::uint64_t value) const {
    if (narrow != nullptr) {
      narrow[i] = static_cast<Narrow>(value);
    } else {
      wide[i] = static_cast<Wide>(value);
    }
  }
  SEQKV_INLINE std::uint64_t get(std::uint64_t i) const { return narrow != nullptr ? narrow[i] : wide[i]; }
};
using MutableTokens = MutableArray<std::uint16_t, std::uint32_t>;
using MutableIndices = MutableArray<std::uint32_t, std::uint64_t>;

/// Writes tokens at `at`.
inline void set_tokens(const MutableTokens& to, std::uint64_t at, TokenSpan tokens) {
  if (to.narrow != nullptr) {
    for (std::size_t i = 0; i < tokens.size(); ++i) to.narrow[at + i] = static_cast<std::uint16_t>(tokens[i]);
  } else {
    for (std::size_t i = 0; i < tokens.size(); ++i) to.wide[at + i] = tokens[i];
  }
}

/// The arrays of a trie that is being made.
struct MutableView {
  MutableTokens token, label_token;
  MutableIndices child, label, below;
  std::uint64_t* session = nullptr;
  std::uint32_t* token_surprisal = nullptr;
  std::uint32_t* label_surprisal = nullptr;
  std::uint16_t* weight = nullptr;
};

/// `image` as the arrays of a trie of this shape; it must have Layout(shape).bytes bytes.
TrieView view_of(const TrieShape& shape, const std::byte* image);
MutableView mutable_view_of(const TrieShape& shape, std::byte* image);

/// Errors: limit_exceeded (more bytes than limits::max_trie_bytes, numbers that overflow).
Result<void> check_size(const TrieShape& shape);

/// A trie in the making: memory with the gaps between the arrays zeroed.
class Image {
 public:
  /// Errors: limit_exceeded. Throws where memory is short.
  static Result<Image> allocate(const TrieShape& shape);

  MutableView arrays() const { return mutable_view_of(shape_, memory_.get()); }
  std::byte* data() const { return memory_.get(); }
  Trie finish() &&;

 private:
  TrieShape shape_;
  std::shared_ptr<std::byte> memory_;
};

/// Whether the arrays are those of a trie: all that kernels rely on, and that it is the one trie of its sequences
/// (ids are not looked up twice). `image` has Layout(shape).bytes bytes. Errors: corrupt.
Result<void> check_arrays(const TrieShape& shape, const std::byte* image);

/// A whole trie file in memory, aligned to 64 bytes: its shape and body, checked. Errors: those of Trie::open.
struct Parsed {
  TrieShape shape;
  std::span<const std::byte> image;
};
Result<Parsed> parse(std::span<const std::byte> file);

/// What stands before the body in a file.
std::vector<std::byte> header_of(const TrieShape& shape, std::span<const std::byte> image);

}  // namespace seqkv::trie
