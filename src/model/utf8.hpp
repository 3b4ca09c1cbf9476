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

}  // namespace seqkv
