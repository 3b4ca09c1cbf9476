// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "core/bytes.hpp"

namespace seqkv {

void ByteWriter::put(std::span<const std::byte> raw) { bytes_.insert(bytes_.end(), raw.begin(), raw.end()); }

void ByteWriter::put_text(std::string_view text) {
  put(static_cast<std::uint32_t>(text.size()));
  put(as_bytes(text));
}

void ByteWriter::pad_to(std::size_t alignment) { bytes_.resize(round_up(bytes_.size(), alignment)); }

}  // namespace seqkv
