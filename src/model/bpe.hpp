// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Byte pair encoding over bytes (Sennrich et al., arXiv 1508.07909; Radford et al. 2019).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "seqkv/kv.hpp"

namespace seqkv {

/// GPT-2's alphabet: the character that stands for a byte in vocabularies and merge lists, and back.
class ByteAlphabet {
 public:
  ByteAlphabet();
  /// The bytes that a vocabulary entry stands for; nothing if a character is not in the alphabet.
  std::optional<std::string> to_bytes(std::string_view entry) const;

 private:
  std::array<std::int16_t, 0x144> byte_of_;  ///< by code point; -1 where none
};

/// What pairs of tokens merge to: a hash table with open addressing, since every byte of a text asks it.
class MergeTable {
 public:
  struct Merge {
    std::uint32_t rank = 0xffffffff;  ///< lower ranks merge first; the highest number means no merge
    Token result = 0;
  };

  /// A pair that is set again takes the new merge.
  void set(Token left, Token right, const Merge& merge);
  Merge find(Token left, Token right) const;

 private:
  struct Slot {
    std::uint64_t pair = 0;
    Merge merge;
  };
  std::size_t place(std::uint64_t pair) const;
  void grow();

  std::vector<Slot> slots_ = std::vector<Slot>(64);
  unsigned shift_ = 58;  ///< 64 - log2(slots)
  std::size_t used_ = 0;
};

class Bpe {
 public:
  void add_token(std::string bytes, Token id);
  /// The id of these bytes, or -1.
  std::int64_t find(std::string_view bytes) const;
  /// A later merge has a higher rank. False if a part or the result is not in the vocabulary.
  bool add_merge(const std::string& left, const std::string& right);
  /// Words that are entries themselves are not taken apart (tokenizer.json's ignore_merges).
  void set_ignore_merges(bool ignore) { ignore_merges_ = ignore; }
  /// Whether each of the 256 bytes is a token: then every text can be encoded. To be called once, last.
  bool index_bytes();

  /// Appends the tokens of one word: pairs merge lowest rank first, leftmost first.
  void encode(std::string_view word, std::vector<Token>& out) const;

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };
  void encode_short(std::string_view word, std::vector<Token>& out) const;
  void encode_long(std::string_view word, std::vector<Token>& out) const;

  static constexpr std::size_t short_word = 48;  // up to here scanning for the lowest rank beats a queue

  std::unordered_map<std::string, Token, Hash, std::equal_to<>> ids_;
  MergeTable merges_;
  std::array<Token, 256> byte_tokens_{};
  std::uint32_t next_rank_ = 0;
  bool ignore_merges_ = false;
};

}  // namespace seqkv
