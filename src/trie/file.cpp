// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Trie files: a header of 128 bytes, then the arrays (docs/trie.md).
#include <fmt/format.h>
#include <algorithm>

#include "core/bytes.hpp"
#include "core/try.hpp"
#include "seqkv/hash.hpp"
#include "seqkv/limits.hpp"
#include "trie/image.hpp"
#include "trie/token_weights.hpp"

namespace seqkv::trie {
namespace {

constexpr std::string_view magic = "SQKVTRIE";
constexpr std::uint32_t version = 1;
constexpr std::size_t header_bytes = 128;
constexpr std::size_t header_checksum_at = header_bytes - 8;

Error corrupt(const std::string& what) { return {ErrorCode::corrupt, what}; }

Result<void> check_shape(const TrieShape& shape) {
  const bool windows = shape.kind == TrieKind::windows;
  if (!windows && shape.kind != TrieKind::sessions) return corrupt("the kind of trie is unknown");
  if (windows ? shape.depth_limit < 1 || shape.depth_limit > limits::max_window_depth : shape.depth_limit != 0) {
    return corrupt(fmt::format("depth limit {} does not go with this kind of trie", shape.depth_limit));
  }
  if (windows && shape.surprisals) return corrupt("a trie of windows has no surprisals");
  if (shape.weights != 0 && (!windows || shape.weights != token_weight_count(shape.depth_limit))) {
    return corrupt(fmt::format("{} weights do not go with this trie", shape.weights));
  }
  if (shape.nodes == 0) return corrupt("a trie has at least a root");
  if (shape.largest_token > INT32_MAX) return corrupt("the largest token is above 2^31 - 1");
  return check_size(shape);
}

/// Offsets that start at `first`, never fall and end at `last`.
bool ascends(const IndexArray& offsets, std::uint64_t count, std::uint64_t first, std::uint64_t last) {
  bool good = offsets[0] == first && offsets[count] == last;
  for (std::uint64_t i = 0; i < count; ++i) good &= offsets[i] <= offsets[i + 1];
  return good;
}

bool zero_between(const std::byte* image, std::uint64_t from, std::uint64_t to) {
  for (std::uint64_t i = from; i < to; ++i) {
    if (image[i] != std::byte{0}) return false;
  }
  return true;
}

bool gaps_are_zero(const TrieShape& shape, const std::byte* image) {
  const Layout at(shape);
  const std::uint64_t sessions = shape.kind == TrieKind::sessions ? shape.total : 0;
  return zero_between(image, at.token + shape.nodes * at.token_bytes, at.label_token) &&
         zero_between(image, at.label_token + shape.label_tokens * at.token_bytes, at.child) &&
         zero_between(image, at.child + (shape.nodes + 1) * at.child_bytes, at.label) &&
         zero_between(image, at.label + (shape.nodes + 1) * at.label_bytes, at.below) &&
         zero_between(image, at.below + (shape.nodes + 1) * at.below_bytes, at.session) &&
         zero_between(image, at.session + sessions * 8, at.token_surprisal) &&
         zero_between(image, at.token_surprisal + (shape.surprisals ? 4 * shape.nodes : 0), at.label_surprisal) &&
         zero_between(image, at.label_surprisal + (shape.surprisals ? 4 * shape.label_tokens : 0), at.weight) &&
         zero_between(image, at.weight + 2 * std::uint64_t{shape.weights}, at.bytes);
}

/// What must hold of a node and its children.
const char* problem_of(const TrieShape& shape, const TrieView& trie, std::uint64_t node) {
  const std::uint64_t first = trie.child[node];
  const std::uint64_t last = trie.child[node + 1];
  if (first != last && first <= node) return "its children come before it";
  if (node != TrieView::root && trie.count(node) == 0) return "no sequence has it as a prefix";
  if (trie.continued(node) > trie.count(node)) return "its children count more than it does";
  if (node != TrieView::root && last - first == 1 && trie.ending(node) == 0) return "it has one child and ends nothing";
  if (trie.token[node] > shape.largest_token) return "its token is above the largest";
  for (std::uint64_t i = first; i + 1 < last; ++i) {
    if (trie.token[i] >= trie.token[i + 1]) return "its children are not in order";
  }
  if (shape.kind == TrieKind::windows && trie.edge_tokens(node) > shape.depth_limit) return "its edge is too long";
  return nullptr;
}

/// Ids of equal sequences ascend.
Result<void> check_sessions(const TrieView& trie) {
  std::vector<std::uint64_t> rank(trie.nodes);
  for (std::uint64_t node = 0; node < trie.nodes; ++node) {
    std::uint64_t next = rank[node];
    for (std::uint64_t i = 1; i < trie.ending(node); ++i) {
      if (trie.session[next + i - 1] >= trie.session[next + i]) {
        return corrupt(fmt::format("session ids at node {} do not ascend", node));
      }
    }
    next += trie.ending(node);
    for (std::uint64_t i = trie.child[node]; i < trie.child[node + 1]; ++i) {
      rank[i] = next;
      next += trie.count(i);
    }
  }
  return {};
}

}  // namespace

Result<void> check_arrays(const TrieShape& shape, const std::byte* image) {
  const TrieView trie = view_of(shape, image);
  if (!ascends(trie.child, shape.nodes, 1, shape.nodes)) return corrupt("offsets of children are not in order");
  if (!ascends(trie.label, shape.nodes, 0, shape.label_tokens) || trie.label[1] != 0) {
    return corrupt("offsets of labels are not in order");
  }
  if (!ascends(trie.below, shape.nodes, 0, shape.sum_counts)) return corrupt("counts are not in order");
  if (trie.count(TrieView::root) != shape.total) return corrupt("the root does not count all sequences");
  if (trie.token[TrieView::root] != 0) return corrupt("the root has a token");
  Token largest = 0;
  for (std::uint64_t node = 0; node < shape.nodes; ++node) {
    if (const char* problem = problem_of(shape, trie, node)) return corrupt(fmt::format("node {}: {}", node, problem));
    largest = std::max(largest, trie.token[node]);
  }
  for (std::uint64_t i = 0; i < shape.label_tokens; ++i) largest = std::max(largest, trie.label_token[i]);
  if (largest != shape.largest_token) return corrupt("the largest token is not the one that is named");
  if (trie.ending(TrieView::root) != 0) return corrupt("an empty sequence");
  if (!gaps_are_zero(shape, image)) return corrupt("bytes between the arrays are not zero");
  if (shape.surprisals && trie.token_surprisal[TrieView::root] != 0) return corrupt("the root has a surprisal");
  if (!weights_are_valid({trie.weight, shape.weights})) return corrupt("a weight is outside of its range");
  if (shape.kind == TrieKind::sessions) return check_sessions(trie);
  return {};
}

std::vector<std::byte> header_of(const TrieShape& shape, std::span<const std::byte> image) {
  ByteWriter out;
  out.put(as_bytes(magic));
  out.put(version);
  out.put(static_cast<std::uint8_t>(shape.kind));
  out.put(static_cast<std::uint8_t>(shape.surprisals));
  out.put(static_cast<std::uint16_t>(shape.depth_limit));
  out.put(shape.nodes);
  out.put(shape.label_tokens);
  out.put(shape.total);
  out.put(shape.sum_counts);
  out.put(std::uint64_t{shape.largest_token});
  out.put(static_cast<std::uint64_t>(image.size()));
  out.put(xxh3_64(image));
  out.put(std::uint64_t{shape.weights});
  while (out.size() < header_checksum_at) out.put(std::uint64_t{0});
  out.put(xxh3_64({out.data(), out.size()}));
  return std::move(out).take();
}

Result<Parsed> parse(std::span<const std::byte> file) {
  ByteReader in(file);
  if (in.get_string(magic.size()) != magic) return corrupt("not a trie file").at_byte(0);
  if (const auto found = in.get<std::uint32_t>(); in.ok() && found != version) {
    return Error(ErrorCode::unsupported_version, fmt::format("trie files of version {} are not known here", found))
        .at_byte(8);
  }
  Parsed parsed;
  TrieShape& shape = parsed.shape;
  shape.kind = static_cast<TrieKind>(in.get<std::uint8_t>());
  const auto surprisals = in.get<std::uint8_t>();
  shape.surprisals = surprisals == 1;
  shape.depth_limit = in.get<std::uint16_t>();
  shape.nodes = in.get<std::uint64_t>();
  shape.label_tokens = in.get<std::uint64_t>();
  shape.total = in.get<std::uint64_t>();
  shape.sum_counts = in.get<std::uint64_t>();
  const auto largest = in.get<std::uint64_t>();
  shape.largest_token = static_cast<Token>(std::min<std::uint64_t>(largest, UINT32_MAX));
  const auto bytes = in.get<std::uint64_t>();
  const auto checksum = in.get<std::uint64_t>();
  const auto weights = in.get<std::uint64_t>();
  shape.weights = static_cast<std::uint32_t>(std::min<std::uint64_t>(weights, UINT32_MAX));
  bool zero = true;
  while (in.position() < header_checksum_at && in.ok()) zero &= in.get<std::uint64_t>() == 0;
  const auto header_checksum = in.get<std::uint64_t>();
  if (!in.ok()) return Error(ErrorCode::truncated, "the header ends early");
  if (header_checksum != xxh3_64(file.first(header_checksum_at))) {
    return Error(ErrorCode::checksum_mismatch, "the checksum of the header is another").at_byte(header_checksum_at);
  }
  if (!zero || surprisals > 1) return corrupt("reserved bits of the header are set");
  SEQKV_TRY(check_shape(shape));
  if (bytes != Layout(shape).bytes) return corrupt("the size in the header is not that of its arrays");
  if (in.remaining() < bytes) return Error(ErrorCode::truncated, "the arrays end early").at_byte(std::ssize(file));
  if (in.remaining() > bytes) return corrupt("bytes follow the arrays");
  parsed.image = file.subspan(header_bytes);
  if (checksum != xxh3_64(parsed.image)) {
    return Error(ErrorCode::checksum_mismatch, "the checksum of the arrays is another").at_byte(header_bytes);
  }
  SEQKV_TRY(check_arrays(shape, parsed.image.data()));
  return parsed;
}

}  // namespace seqkv::trie
