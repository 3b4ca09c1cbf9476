// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "trie/image.hpp"

#include <fmt/format.h>

#include <cstring>

#include "core/bytes.hpp"
#include "core/host_memory.hpp"
#include "core/try.hpp"
#include "seqkv/limits.hpp"

namespace seqkv::trie {
namespace {

constexpr std::uint64_t narrow_limit = std::uint64_t{1} << 32U;

template <class Array, class Narrow, class Wide, class Byte>
Array array_at(Byte* image, std::uint64_t offset, unsigned bytes) {
  Array array;
  if (bytes == sizeof(Narrow)) {
    array.narrow = reinterpret_cast<Narrow*>(image + offset);
  } else {
    array.wide = reinterpret_cast<Wide*>(image + offset);
  }
  return array;
}

}  // namespace

Layout::Layout(const TrieShape& shape)
    : token_bytes(shape.largest_token < (1U << 16U) ? 2 : 4),
      child_bytes(shape.nodes < narrow_limit ? 4 : 8),
      label_bytes(shape.label_tokens < narrow_limit ? 4 : 8),
      below_bytes(shape.sum_counts < narrow_limit ? 4 : 8),
      bytes(0) {
  const auto place = [this](std::uint64_t count, std::uint64_t width) {
    const std::uint64_t offset = bytes;
    bytes = round_up(bytes + count * width, alignment);
    return offset;
  };
  token = place(shape.nodes, token_bytes);
  label_token = place(shape.label_tokens, token_bytes);
  child = place(shape.nodes + 1, child_bytes);
  label = place(shape.nodes + 1, label_bytes);
  below = place(shape.nodes + 1, below_bytes);
  session = place(shape.kind == TrieKind::sessions ? shape.total : 0, sizeof(std::uint64_t));
  token_surprisal = place(shape.surprisals ? shape.nodes : 0, sizeof(std::uint32_t));
  label_surprisal = place(shape.surprisals ? shape.label_tokens : 0, sizeof(std::uint32_t));
  weight = place(shape.weights, sizeof(std::uint16_t));
}

Result<void> check_size(const TrieShape& shape) {
  // Each array alone is far below 2^64 bytes, so that their sum cannot overflow either.
  constexpr auto most = static_cast<std::uint64_t>(limits::max_trie_bytes);
  if (shape.nodes <= most && shape.label_tokens <= most && shape.total <= most && Layout(shape).bytes <= most)
    return {};
  return Error(ErrorCode::limit_exceeded, fmt::format("a trie of {} nodes and {} label tokens is larger than {} bytes",
                                                      shape.nodes, shape.label_tokens, most));
}

TrieView view_of(const TrieShape& shape, const std::byte* image) {
  const Layout layout(shape);
  TrieView view;
  view.nodes = shape.nodes;
  view.token = array_at<TokenArray, const std::uint16_t, const std::uint32_t>(image, layout.token, layout.token_bytes);
  view.label_token =
      array_at<TokenArray, const std::uint16_t, const std::uint32_t>(image, layout.label_token, layout.token_bytes);
  view.child = array_at<IndexArray, const std::uint32_t, const std::uint64_t>(image, layout.child, layout.child_bytes);
  view.label = array_at<IndexArray, const std::uint32_t, const std::uint64_t>(image, layout.label, layout.label_bytes);
  view.below = array_at<IndexArray, const std::uint32_t, const std::uint64_t>(image, layout.below, layout.below_bytes);
  if (shape.kind == TrieKind::sessions) view.session = reinterpret_cast<const std::uint64_t*>(image + layout.session);
  if (shape.surprisals) {
    view.token_surprisal = reinterpret_cast<const std::uint32_t*>(image + layout.token_surprisal);
    view.label_surprisal = reinterpret_cast<const std::uint32_t*>(image + layout.label_surprisal);
  }
  if (shape.weights > 0) view.weight = reinterpret_cast<const std::uint16_t*>(image + layout.weight);
  return view;
}

MutableView mutable_view_of(const TrieShape& shape, std::byte* image) {
  const Layout layout(shape);
  MutableView view;
  view.token = array_at<MutableTokens, std::uint16_t, std::uint32_t>(image, layout.token, layout.token_bytes);
  view.label_token =
      array_at<MutableTokens, std::uint16_t, std::uint32_t>(image, layout.label_token, layout.token_bytes);
  view.child = array_at<MutableIndices, std::uint32_t, std::uint64_t>(image, layout.child, layout.child_bytes);
  view.label = array_at<MutableIndices, std::uint32_t, std::uint64_t>(image, layout.label, layout.label_bytes);
  view.below = array_at<MutableIndices, std::uint32_t, std::uint64_t>(image, layout.below, layout.below_bytes);
  if (shape.kind == TrieKind::sessions) view.session = reinterpret_cast<std::uint64_t*>(image + layout.session);
  if (shape.surprisals) {
    view.token_surprisal = reinterpret_cast<std::uint32_t*>(image + layout.token_surprisal);
    view.label_surprisal = reinterpret_cast<std::uint32_t*>(image + layout.label_surprisal);
  }
  if (shape.weights > 0) view.weight = reinterpret_cast<std::uint16_t*>(image + layout.weight);
  return view;
}

Result<Image> Image::allocate(const TrieShape& shape) {
  SEQKV_TRY(check_size(shape));
  const Layout layout(shape);
  Image image;
  image.shape_ = shape;
  image.memory_ = allocate_host(layout.bytes);
  // The gaps between arrays: at most one alignment at the end of each.
  const auto clear_end = [&](std::uint64_t next) {
    const std::uint64_t from = next < alignment ? 0 : next - alignment;
    std::memset(image.memory_.get() + from, 0, next - from);
  };
  for (const std::uint64_t next : {layout.label_token, layout.child, layout.label, layout.below, layout.session,
                                   layout.token_surprisal, layout.label_surprisal, layout.weight, layout.bytes}) {
    clear_end(next);
  }
  return image;
}

Trie Image::finish() && {
  const std::span<const std::byte> bytes(memory_.get(), Layout(shape_).bytes);
  return {shape_, bytes, std::move(memory_)};
}

}  // namespace seqkv::trie
