// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Safetensors files made by hand, good and bad.
#pragma once

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "seqkv/result.hpp"
#include "seqkv/safetensors.hpp"

namespace seqkv::test {

/// The bytes of a file: header length, header, buffer.
inline std::string safetensors(std::string_view header, std::string_view buffer = {}) {
  const std::uint64_t length = header.size();
  std::string file(8, '\0');
  std::memcpy(file.data(), &length, 8);
  return file.append(header).append(buffer);
}

/// Zeros behind a header.
inline std::string safetensors(std::string_view header, std::size_t buffer_size) {
  return safetensors(header, std::string(buffer_size, '\0'));
}

/// A tensor's entry in a header; shape and offsets as JSON.
inline std::string tensor_json(std::string_view dtype, std::string_view shape, std::string_view offsets) {
  return fmt::format(R"({{"dtype":"{}","shape":{},"data_offsets":{}}})", dtype, shape, offsets);
}

inline std::span<const std::byte> bytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

inline Result<SafetensorsFile> parse_safetensors(std::string_view file) {
  return SafetensorsFile::parse(bytes(file), "test.safetensors");
}

}  // namespace seqkv::test
