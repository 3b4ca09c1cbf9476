// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Regular expressions of tokenizers, on PCRE2, with Unicode 16's letters and numbers whatever the version of
/// PCRE2's own tables.
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
  /// Errors: unsupported, with PCRE2's words and the position in the pattern.
  static Result<Regex> compile(std::string_view pattern);
  /// A pattern that matches `text` itself.
  static std::string escape(std::string_view text);

  /// Calls visit(begin, end, is_match) for the matches and the gaps between them, in order; together they cover
  /// `text`, which must be UTF-8. Empty matches are passed over.
  Result<void> split(std::string_view text, const std::function<void(std::size_t, std::size_t, bool)>& visit) const;

  /// True if the pattern matches somewhere in `text`; begin and end receive the first place.
  bool search(std::string_view text, std::size_t& begin, std::size_t& end) const;

 private:
  explicit Regex(std::shared_ptr<pcre2_real_code_8> code) : code_(std::move(code)) {}
  std::shared_ptr<pcre2_real_code_8> code_;
};

}  // namespace seqkv
