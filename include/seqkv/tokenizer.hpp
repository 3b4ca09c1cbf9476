// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Byte-level BPE from a Hugging Face tokenizer.json: the ids of PyPI `tokenizers`, without it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "seqkv/hash.hpp"
#include "seqkv/kv.hpp"

namespace seqkv {

enum class SpecialTokens { none, add };

/// Immutable once loaded; encode and decode may be called from many threads.
class Tokenizer {
 public:
  /// Errors: file_not_found, bad_format, and unsupported for any component that is not implemented, by name.
  static Result<Tokenizer> load(const std::filesystem::path& tokenizer_json);
  static Result<Tokenizer> parse(std::string_view json);

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  /// Added tokens in the text ("<|endoftext|>") become their ids. SpecialTokens::add also applies the
  /// post-processor's template, as `tokenizers` does by default. Errors: not_utf8 with the byte offset.
  Result<std::vector<Token>> encode(std::string_view text, SpecialTokens special = SpecialTokens::none) const;

  /// The bytes of the tokens. encode then decode gives the text back unless a normalizer changed it.
  /// Errors: token_out_of_range.
  Result<std::string> decode(TokenSpan tokens, bool skip_special = false) const;

  /// One more than the largest id.
  std::int64_t vocabulary_size() const noexcept;
  /// SHA-256 of the JSON text.
  const Digest& fingerprint() const noexcept;

 private:
  struct State;
  explicit Tokenizer(std::unique_ptr<const State> state);
  std::unique_ptr<const State> state_;
};

}  // namespace seqkv
