// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Regular expressions of tokenizers, on PCRE2: they match as they do in PyPI `tokenizers` (Oniguruma), with
/// Unicode 16's letters and numbers whatever the version of PCRE2's own tables.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "seqkv/result.hpp"

struct pcre2_real_code_8;

namespace seqkv {

class Regex {
 public:
  /// Errors: unsupported, naming what PCRE2 refuses or the two engines read differently; limit_exceeded.
  static Result<Regex> compile(std::string_view pattern);
  /// A pattern that matches `text` itself.
  static std::string escape(std::string_view text);

  /// Calls visit(begin, end, is_match) for the matches and the gaps between them, in order; together they cover
  /// `text`, which must be UTF-8. No piece is empty, but an empty match still divides the gap it stands in.
  /// Errors: limit_exceeded (too much backtracking).
  Result<void> split(std::string_view text, const std::function<void(std::size_t, std::size_t, bool)>& visit) const;

  /// True if the pattern matches somewhere in `text`; begin and end receive the first place.
  bool search(std::string_view text, std::size_t& begin, std::size_t& end) const;

 private:
  explicit Regex(std::shared_ptr<pcre2_real_code_8> code) : code_(std::move(code)) {}
  /// The first match from byte `start` on; negative (PCRE2's code) if there is none.
  int match(std::string_view text, std::size_t start, std::size_t& begin, std::size_t& end) const;

  std::shared_ptr<pcre2_real_code_8> code_;
};

}  // namespace seqkv
