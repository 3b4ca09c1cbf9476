// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Any bytes as a frame: header, index and heads of blocks are read or refused. With the first bit of the first byte the
// header's checksum is put right, without which nothing behind it would be tried.
#include "seqkv/frame.hpp"

#include <cstring>

#include "memory_file.hpp"
#include "seqkv/hash.hpp"

using namespace seqkv;

namespace {

/// Byte 12 says how long the header is; its checksum stands before the padding to the next multiple of 64, behind an
/// index of as many blocks as byte 28 says.
void sign(std::span<std::byte> frame) {
  if (frame.size() < 200) return;
  std::uint32_t blocks = 0;
  std::uint16_t codec = 0;
  std::memcpy(&blocks, frame.data() + 28, sizeof(blocks));
  std::memcpy(&codec, frame.data() + 46, sizeof(codec));
  const std::size_t index = (192 + codec + 7U) / 8 * 8;
  if (blocks > frame.size() / 16 || index + blocks * std::size_t{16} + 8 > frame.size()) return;
  const std::size_t hashed = index + blocks * std::size_t{16};
  const std::uint64_t sum = xxh3_64(frame.first(hashed));
  std::memcpy(frame.data() + hashed, &sum, sizeof(sum));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  std::vector<std::byte> bytes(size - 1);
  if (!bytes.empty()) std::memcpy(bytes.data(), data + 1, bytes.size());
  if ((data[0] & 1U) != 0) sign(bytes);
  const auto frame = FrameReader::parse(bytes, "frame");
  if (!fuzz::is_clean(frame)) __builtin_trap();
  if (!frame.ok()) return 0;
  const FrameInfo& info = frame->info();
  if (!info.shape.check() || info.tokens < 0) __builtin_trap();
  for (const CodedBlockView& block : frame->blocks(0, info.blocks())) {
    if (block.data() < bytes.data() || block.data() + block.size() > bytes.data() + bytes.size()) __builtin_trap();
  }
  if (!fuzz::is_clean(frame->tokens())) __builtin_trap();
  return 0;
}
