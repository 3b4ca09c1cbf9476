// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "model/regex.hpp"

#include <fmt/format.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>

namespace seqkv {
namespace {

// What tokenizers' regex engine calls white space: the property White_Space. PCRE2's \s differs in U+0085 and
// U+180E.
constexpr std::string_view space =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";

// Code points that became letters and numbers with Unicode 15, 15.1 and 16, and are unassigned for an older
// PCRE2 (10.42 has Unicode 14). Naming them twice does no harm with a newer one.
constexpr std::string_view new_letters =
    R"(\x{1c89}-\x{1c8a}\x{a7cb}-\x{a7cd}\x{a7da}-\x{a7dc}\x{105c0}-\x{105f3}\x{10d4a}-\x{10d65}\x{10d6f}-\x{10d85})"
    R"(\x{10ec2}-\x{10ec4}\x{1123f}-\x{11240}\x{11380}-\x{11389}\x{1138b}\x{1138e}\x{11390}-\x{113b5}\x{113b7})"
    R"(\x{113d1}\x{113d3}\x{11bc0}-\x{11be0}\x{11f02}\x{11f04}-\x{11f10}\x{11f12}-\x{11f33}\x{1342f})"
    R"(\x{13441}-\x{13446}\x{13460}-\x{143fa}\x{16100}-\x{1611d}\x{16d40}-\x{16d6c}\x{18cff}\x{1b132}\x{1b155})"
    R"(\x{1df25}-\x{1df2a}\x{1e030}-\x{1e06d}\x{1e4d0}-\x{1e4eb}\x{1e5d0}-\x{1e5ed}\x{1e5f0}\x{2b739})"
    R"(\x{2ebf0}-\x{2ee5d}\x{31350}-\x{323af})";
constexpr std::string_view new_numbers =
    R"(\x{10d40}-\x{10d49}\x{116d0}-\x{116e3}\x{11bf0}-\x{11bf9}\x{11f50}-\x{11f59}\x{16130}-\x{16139})"
    R"(\x{16d70}-\x{16d79}\x{1ccf0}-\x{1ccf9}\x{1d2c0}-\x{1d2d3}\x{1e4f0}-\x{1e4f9}\x{1e5f1}-\x{1e5fa})";

struct Escape {
  std::string_view text;
  std::string inside;  ///< what stands for it between brackets
  bool negated;        ///< \S and the like
};

const std::array<Escape, 6>& escapes() {
  static const std::array<Escape, 6> table = {{
      {R"(\s)", std::string(space), false},
      {R"(\S)", std::string(space), true},
      {R"(\p{L})", R"(\p{L})" + std::string(new_letters), false},
      {R"(\P{L})", R"(\p{L})" + std::string(new_letters), true},
      {R"(\p{N})", R"(\p{N})" + std::string(new_numbers), false},
      {R"(\P{N})", R"(\p{N})" + std::string(new_numbers), true},
  }};
  return table;
}

/// Writes \s, \S, \p{L}, \P{L}, \p{N} and \P{N} out as sets. A negated one inside brackets stays as it is
/// (a set cannot hold a complement); no published tokenizer has one.
std::string with_unicode_16(std::string_view pattern) {
  std::string out;
  bool in_set = false;
  while (!pattern.empty()) {
    const Escape* found = nullptr;
    for (const Escape& escape : escapes()) {
      if (pattern.starts_with(escape.text) && !(escape.negated && in_set)) found = &escape;
    }
    if (found != nullptr) {
      out += in_set ? found->inside : fmt::format("[{}{}]", found->negated ? "^" : "", found->inside);
      pattern.remove_prefix(found->text.size());
      continue;
    }
    const std::size_t length = pattern[0] == '\\' && pattern.size() > 1 ? 2 : 1;
    if (pattern[0] == '[') in_set = true;
    if (pattern[0] == ']') in_set = false;
    out += pattern.substr(0, length);
    pattern.remove_prefix(length);
  }
  return out;
}

struct FreeMatch {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};
using Match = std::unique_ptr<pcre2_match_data, FreeMatch>;

}  // namespace

Result<Regex> Regex::compile(std::string_view pattern) {
  const std::string rewritten = with_unicode_16(pattern);
  int code = 0;
  PCRE2_SIZE position = 0;
  pcre2_code* compiled = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(rewritten.data()), rewritten.size(),
                                       PCRE2_UTF | PCRE2_UCP, &code, &position, nullptr);
  if (compiled == nullptr) {
    std::array<PCRE2_UCHAR, 256> words{};
    pcre2_get_error_message(code, words.data(), words.size());
    return Error(ErrorCode::unsupported, fmt::format("regular expression '{}': {} (at {})", pattern,
                                                     reinterpret_cast<const char*>(words.data()), position));
  }
  pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE);  // an optimization: without JIT the interpreter runs
  return Regex(std::shared_ptr<pcre2_code>(compiled, pcre2_code_free));
}

std::string Regex::escape(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (std::string_view(R"(\^$.[]|()?*+{}-)").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

Result<void> Regex::split(std::string_view text, const std::function<void(std::size_t, std::size_t, bool)>& visit) const {
  const Match match(pcre2_match_data_create_from_pattern(code_.get(), nullptr));
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  std::size_t done = 0;   // covered up to here
  std::size_t start = 0;  // search from here
  while (start <= text.size()) {
    // The caller has checked the text to be UTF-8; checking it again at every match would be quadratic.
    const int status =
        pcre2_match(code_.get(), subject, text.size(), start, PCRE2_NO_UTF_CHECK, match.get(), nullptr);
    if (status == PCRE2_ERROR_NOMATCH) break;
    if (status < 0) {
      return Error(ErrorCode::limit_exceeded, fmt::format("the regular expression gives up (PCRE2 error {})", status))
          .at_byte(static_cast<std::int64_t>(start));
    }
    const PCRE2_SIZE* range = pcre2_get_ovector_pointer(match.get());
    const std::size_t begin = range[0];
    const std::size_t end = range[1];
    if (end > begin) {
      if (begin > done) visit(done, begin, false);
      visit(begin, end, true);
      done = start = end;
    } else {
      start = end + 1;  // an empty match: go on behind the next character
      while (start < text.size() && (static_cast<unsigned char>(text[start]) & 0xc0U) == 0x80U) ++start;
    }
  }
  if (done < text.size()) visit(done, text.size(), false);
  return {};
}

bool Regex::search(std::string_view text, std::size_t& begin, std::size_t& end) const {
  const Match match(pcre2_match_data_create_from_pattern(code_.get(), nullptr));
  const int status = pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0,
                                 PCRE2_NO_UTF_CHECK, match.get(), nullptr);
  if (status < 0) return false;
  const PCRE2_SIZE* range = pcre2_get_ovector_pointer(match.get());
  begin = range[0];
  end = range[1];
  return true;
}

}  // namespace seqkv
