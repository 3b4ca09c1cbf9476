// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The header of a safetensors file: strict parsing of untrusted JSON, without building a document.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "seqkv/result.hpp"

namespace seqkv::io {

struct HeaderTensor {
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::int64_t begin = 0;  ///< in the buffer behind the header
  std::int64_t end = 0;
};

struct SafetensorsHeader {
  std::map<std::string, HeaderTensor> tensors;
  std::map<std::string, std::string> metadata;
  std::int64_t buffer_offset = 0;  ///< first byte behind the header
};

/// Bits per element of a safetensors dtype, or 0 if there is none of this name.
int safetensors_bits(const std::string& dtype);

/// Bytes of a tensor, or -1 if an extent is negative, the product overflows or is not of whole bytes.
std::int64_t safetensors_bytes(const std::string& dtype, const std::vector<std::int64_t>& shape);

/// Checks everything the reference implementation checks: header length and limit, UTF-8 JSON object, known
/// dtypes, shape times size equal to the extent, extents contiguous from 0 to the end of the file; and refuses
/// duplicate keys. Errors: bad_format, limit_exceeded.
Result<SafetensorsHeader> parse_safetensors_header(std::span<const std::byte> file);

}  // namespace seqkv::io
