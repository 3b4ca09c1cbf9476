// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Code points of text that is known to be UTF-8.
#pragma once

#include <cstddef>
#include <string_view>

namespace seqkv {

/// The code point at `at`, which moves behind it. Precondition: valid UTF-8, at < text.size().
inline char32_t next_code_point(std::string_view text, std::size_t& at) {
  const auto lead = static_cast<unsigned char>(text[at++]);
  if (lead < 0x80) return lead;
  int more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
  char32_t point = lead & (0x3fU >> static_cast<unsigned>(more));
  for (; more > 0 && at < text.size(); --more) point = point << 6U | (static_cast<unsigned char>(text[at++]) & 0x3fU);
  return point;
}

/// The bytes of the last character; empty if there is none. Precondition: valid UTF-8.
inline std::string_view last_character(std::string_view text) {
  if (text.empty()) return text;
  std::size_t begin = text.size() - 1;
  while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xc0U) == 0x80U) --begin;
  return text.substr(begin);
}

/// Unicode's property White_Space.
constexpr bool is_white_space(char32_t point) {
  return (point >= 0x9 && point <= 0xd) || point == 0x20 || point == 0x85 || point == 0xa0 || point == 0x1680 ||
         (point >= 0x2000 && point <= 0x200a) || point == 0x2028 || point == 0x2029 || point == 0x202f ||
         point == 0x205f || point == 0x3000;
}

}  // namespace seqkv
