// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// A library for AFL++ (AFL_CUSTOM_MUTATOR_LIBRARY, docs/testing.md): checksums of mutated frames and packs are put
// right before the program reads them.
#include "checksums.hpp"

namespace {

struct Buffer {
  std::vector<std::byte> bytes;
};

bool begins_with(std::span<const std::byte> bytes, const char* magic) {
  return bytes.size() >= 8 && std::memcmp(bytes.data(), magic, 8) == 0;
}

}  // namespace

extern "C" {

void* afl_custom_init(void*, unsigned) { return new Buffer; }
void afl_custom_deinit(void* data) { delete static_cast<Buffer*>(data); }

std::size_t afl_custom_post_process(void* data, unsigned char* from, std::size_t size, unsigned char** out) {
  auto& bytes = static_cast<Buffer*>(data)->bytes;
  const auto* start = reinterpret_cast<const std::byte*>(from);
  bytes.assign(start, start + size);
  if (begins_with(bytes, "\x89SQKV\r\n\x1a")) {
    seqkv::fuzz::sign_header(bytes);
    seqkv::fuzz::sign_blocks(bytes);
  } else if (begins_with(bytes, "\x89SQKP\r\n\x1a")) {
    seqkv::fuzz::sign_records(bytes, 0);
  }
  *out = reinterpret_cast<unsigned char*>(bytes.data());
  return bytes.size();
}
}
