// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Any bytes as a token stream, read with a small trie: an error or tokens, in bounded memory. By the first byte they
// are the whole stream, or the lengths and payloads of one whose header and checksum of the index are right.
#include <algorithm>
#include <cstring>
#include <vector>

#include "seqkv/hash.hpp"
#include "seqkv/token_coder.hpp"
#include "trie/node_writer.hpp"
#include "trie/token_stream.hpp"

using namespace seqkv;

namespace {

/// The windows of two tokens of 0 1 2 0 1: a root, and 0 1 (twice), 1 (once, an end), 1 2, 2 0 below it.
Trie small_trie() {
  TrieShape shape;
  shape.kind = TrieKind::windows;
  shape.depth_limit = 2;
  shape.nodes = 5;
  shape.label_tokens = 2;
  shape.total = 5;
  shape.sum_counts = 11;
  shape.largest_token = 2;
  auto image = trie::Image::allocate(shape);
  const trie::MutableView out = image->arrays();
  const std::uint64_t token[] = {0, 0, 1, 2, 2};
  const std::uint64_t child[] = {1, 4, 4, 5, 5, 5};
  const std::uint64_t label[] = {0, 0, 1, 1, 2, 2};
  const std::uint64_t below[] = {0, 5, 7, 9, 10, 11};
  for (std::uint64_t i = 0; i < 5; ++i) out.token.set(i, token[i]);
  for (std::uint64_t i = 0; i < 6; ++i) {
    out.child.set(i, child[i]);
    out.label.set(i, label[i]);
    out.below.set(i, below[i]);
  }
  out.label_token.set(0, 1);
  out.label_token.set(1, 0);
  return std::move(*image).finish();
}

const TokenCoder& coder() {
  static const TokenCoder made = [] {
    const Trie trie = small_trie();
    if (!trie::check_arrays(trie.shape(), trie.image().data())) __builtin_trap();
    auto created = TokenCoder::create(trie);
    if (!created) __builtin_trap();
    return std::move(*created);
  }();
  return made;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::uint64_t most_tokens = 4096;
  if (size < 2) return 0;
  const auto bytes = std::as_bytes(std::span(data, size)).subspan(2);
  std::vector<std::byte> stream(bytes.begin(), bytes.end());
  if (data[0] % 2 == 1) {
    const std::uint64_t block_tokens = data[0] / 4;
    const std::vector<std::uint64_t> tokens = {data[1]};
    const std::uint64_t blocks = trie::blocks_of(tokens[0], block_tokens);
    std::vector<trie::CodedBlock> coded(blocks);
    for (std::uint64_t b = 0; b < blocks; ++b) {
      const auto part =
          bytes.subspan(bytes.size() * b / blocks, bytes.size() * (b + 1) / blocks - bytes.size() * b / blocks);
      coded[b].payload.assign(part.begin(), part.end());
    }
    stream = trie::write_stream({coder().fingerprint(), 3, block_tokens, data[0] % 4 == 1}, tokens, coded);
  }
  const auto parsed = trie::parse_stream(stream, most_tokens);
  if (!parsed) return 0;
  for (std::uint64_t s = 0; s < std::min<std::size_t>(parsed->tokens.size(), 8); ++s) {
    const auto tokens = coder().decode_block(stream, s, 0);
    if (tokens && tokens->size() > most_tokens) __builtin_trap();
  }
  return 0;
}
