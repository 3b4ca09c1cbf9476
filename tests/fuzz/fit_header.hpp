// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Safetensors whose header is mutated: without its size put right, nothing but the check of the size would be tried.
#pragma once

#include <cstdint>
#include <vector>

namespace seqkv::fuzz {

/// The file; if the highest byte of the header's size is 255, which no file has, with the size of the JSON object
/// that follows.
inline std::vector<std::uint8_t> fit_header(const std::uint8_t* data, std::size_t size) {
  std::vector<std::uint8_t> file(data, data + size);
  if (size < 9 || file[7] != 255) return file;
  std::size_t end = 8;
  bool in_string = false;
  for (std::int64_t depth = 0; end < size; ++end) {
    const char c = static_cast<char>(file[end]);
    if (in_string && c == '\\') {
      ++end;
    } else if (c == '"') {
      in_string = !in_string;
    } else if (!in_string && (c == '{' || c == '}')) {
      depth += c == '{' ? 1 : -1;
      if (depth <= 0) break;
    }
  }
  while (end + 1 < size && file[end + 1] == ' ') ++end;  // padding
  const std::uint64_t header = (end < size ? end + 1 : size) - 8;
  for (unsigned i = 0; i < 8; ++i) file[i] = static_cast<std::uint8_t>(header >> (8 * i));
  return file;
}

}  // namespace seqkv::fuzz
