// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Any bytes as a trie file: refused, or a trie that can be walked. The first byte says whether checksums are put right,
// without which nothing but the checks of checksums would be tried.
#include <algorithm>
#include <cstring>
#include <vector>

#include "seqkv/hash.hpp"
#include "trie/image.hpp"

using namespace seqkv;

namespace {

constexpr std::size_t header_bytes = 128;

void sign(std::span<std::byte> file) {
  const std::uint64_t body = xxh3_64(file.subspan(header_bytes));
  std::memcpy(file.data() + 64, &body, sizeof(body));
  const std::uint64_t header = xxh3_64(file.first(header_bytes - 8));
  std::memcpy(file.data() + header_bytes - 8, &header, sizeof(header));
}

std::uint64_t walk(const TrieView& trie) {
  std::uint64_t sum = 0;
  for (std::uint64_t node = 0; node < trie.nodes; ++node) {
    for (std::uint64_t i = 0; i < trie.edge_tokens(node); ++i) sum += trie.edge_token(node, i);
    for (std::uint64_t c = trie.child[node]; c < trie.child[node + 1]; ++c) {
      if (trie.find_child(node, trie.token[c]) != c) __builtin_trap();
    }
    sum += trie.ending(node);
  }
  TrieCursor at;
  for (Token token = 0; token < 64; ++token) {
    at.advance(trie, token % 7);
    if (trie.session != nullptr && at.depth > 0) sum += trie.session[at.rank];
  }
  return sum;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  std::vector<std::uint64_t> memory(size / 8 + 9);
  auto* start = reinterpret_cast<std::byte*>(memory.data());
  start += (64 - reinterpret_cast<std::uintptr_t>(start) % 64) % 64;
  const std::span file(start, size - 1);
  if (!file.empty()) std::memcpy(file.data(), data + 1, file.size());
  if (data[0] % 2 == 1 && file.size() >= header_bytes) sign(file);
  static volatile std::uint64_t sink = 0;
  if (const auto parsed = trie::parse(file)) sink = sink + walk(trie::view_of(parsed->shape, parsed->image.data()));
  return 0;
}
