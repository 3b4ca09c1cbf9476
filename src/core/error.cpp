// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "seqkv/error.hpp"

#include <fmt/format.h>

#include <cstddef>

namespace seqkv {

std::string_view to_string(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::internal:
      return "internal";
    case ErrorCode::invalid_argument:
      return "invalid_argument";
    case ErrorCode::invalid_codec_spec:
      return "invalid_codec_spec";
    case ErrorCode::bad_format:
      return "bad_format";
    case ErrorCode::unsupported:
      return "unsupported";
    case ErrorCode::shape_mismatch:
      return "shape_mismatch";
    case ErrorCode::missing_field:
      return "missing_field";
    case ErrorCode::not_finite:
      return "not_finite";
    case ErrorCode::not_utf8:
      return "not_utf8";
    case ErrorCode::empty_input:
      return "empty_input";
    case ErrorCode::token_out_of_range:
      return "token_out_of_range";
    case ErrorCode::wrong_model:
      return "wrong_model";
    case ErrorCode::wrong_store:
      return "wrong_store";
    case ErrorCode::wrong_profile:
      return "wrong_profile";
    case ErrorCode::session_differs:
      return "session_differs";
    case ErrorCode::wrong_key:
      return "wrong_key";
    case ErrorCode::ranks_differ:
      return "ranks_differ";
    case ErrorCode::file_not_found:
      return "file_not_found";
    case ErrorCode::session_not_found:
      return "session_not_found";
    case ErrorCode::corrupt:
      return "corrupt";
    case ErrorCode::checksum_mismatch:
      return "checksum_mismatch";
    case ErrorCode::truncated:
      return "truncated";
    case ErrorCode::unsupported_version:
      return "unsupported_version";
    case ErrorCode::missing_reference:
      return "missing_reference";
    case ErrorCode::forged:
      return "forged";
    case ErrorCode::io:
      return "io";
    case ErrorCode::disk_full:
      return "disk_full";
    case ErrorCode::communication:
      return "communication";
    case ErrorCode::out_of_memory:
      return "out_of_memory";
    case ErrorCode::limit_exceeded:
      return "limit_exceeded";
    case ErrorCode::busy:
      return "busy";
    case ErrorCode::interrupted:
      return "interrupted";
  }
  return "unknown";
}

std::string without_controls(std::string_view text) {
  const auto byte = [&text](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const unsigned lead = byte(i);
    const std::size_t length = lead < 0x80   ? 1
                               : lead < 0xc2 ? 0
                               : lead < 0xe0 ? 2
                               : lead < 0xf0 ? 3
                               : lead < 0xf5 ? 4
                                             : 0;
    std::size_t continued = 1;
    while (continued < length && (byte(i + continued) & 0xc0U) == 0x80U) ++continued;
    const bool control = lead < 0x20 || lead == 0x7f || (lead == 0xc2 && byte(i + 1) < 0xa0);
    if (continued != length) {
      out += '?';
      ++i;
    } else {
      out += control ? "?" : text.substr(i, length);
      i += length;
    }
  }
  return out;
}

Error&& Error::in_file(std::string_view path) && {
  if (file.empty()) file = path;
  return std::move(*this);
}

Error&& Error::at_field(std::string_view name) && {
  if (field.empty()) field = name;
  return std::move(*this);
}

Error&& Error::at_byte(std::int64_t position) && {
  if (offset < 0) offset = position;
  return std::move(*this);
}

Error&& Error::in_block(std::int64_t index) && {
  if (block < 0) block = index;
  return std::move(*this);
}

std::string Error::describe() const {
  std::string text;
  if (!file.empty()) text += file + ": ";
  if (!field.empty()) text += field + ": ";
  text += message;
  text = without_controls(text);  // names and words of files are among them
  if (offset >= 0 && block >= 0) {
    text += fmt::format(" (byte {}, block {})", offset, block);
  } else if (offset >= 0) {
    text += fmt::format(" (byte {})", offset);
  } else if (block >= 0) {
    text += fmt::format(" (block {})", block);
  }
  return text + fmt::format(" [{} {}]", to_string(code), static_cast<int>(code));
}

}  // namespace seqkv
