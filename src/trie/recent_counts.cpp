// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "trie/recent_counts.hpp"

#include <algorithm>
#include <bit>

namespace seqkv::trie {

void RecentCounts::clear() {
  nodes_.assign(1, {});
  slots_.assign(1, {});
  children_ = 0;
}

std::uint32_t RecentCounts::find(const Node& node, Token token, std::uint64_t& before) const {
  before = 0;
  if (!node.has_tree()) {
    const Slot* const row = slots_.data() + node.first;
    std::uint32_t i = 0;
    for (; i < node.size && row[i].token_or_left < token; ++i) before += row[i].share;
    return i < node.size && row[i].token_or_left == token ? node.first + i : none;
  }
  std::uint32_t at = node.first;
  for (int bit = token_bits_ - 1; bit >= 0 && at != none; --bit) {
    const Slot& inner = slots_[at];
    const bool right = (token >> static_cast<unsigned>(bit) & 1U) != 0;
    before += right ? inner.share : 0;
    at = right ? inner.child_or_right : inner.token_or_left;
  }
  return at;
}

std::uint32_t RecentCounts::insert(std::uint32_t node, Token token, bool inner) {
  std::uint32_t child = 0;
  if (inner) {
    child = static_cast<std::uint32_t>(nodes_.size());
    nodes_.emplace_back();
  }
  ++children_;
  Node& at = nodes_[node];
  if (at.size == most_in_a_row) turn_into_tree(at);
  const Slot slot = {token, 0, child};
  if (at.size >= most_in_a_row) {
    ++at.size;
    return insert_in_tree(at.first, slot);
  }
  return insert_in_row(at, slot);
}

std::uint32_t RecentCounts::take_slots(std::uint32_t count) {
  const auto first = static_cast<std::uint32_t>(slots_.size());
  slots_.resize(slots_.size() + count);
  return first;
}

/// A row has room for the power of two at or above its size; the slots that it grows out of are left unused.
std::uint32_t RecentCounts::insert_in_row(Node& node, const Slot& child) {
  if (node.size == 0) {
    node.first = take_slots(1);
  } else if (std::has_single_bit(node.size)) {
    const std::uint32_t room = take_slots(2 * node.size);
    std::copy_n(slots_.begin() + node.first, node.size, slots_.begin() + room);
    node.first = room;
  }
  Slot* const row = slots_.data() + node.first;
  std::uint32_t at = node.size++;
  for (; at > 0 && row[at - 1].token_or_left > child.token_or_left; --at) row[at] = row[at - 1];
  row[at] = child;
  return node.first + at;
}

std::uint32_t RecentCounts::insert_in_tree(std::uint32_t top, const Slot& child) {
  std::uint32_t at = top;
  for (int bit = token_bits_ - 1; bit >= 0; --bit) {
    const bool right = (child.token_or_left >> static_cast<unsigned>(bit) & 1U) != 0;
    const std::uint32_t next = right ? slots_[at].child_or_right : slots_[at].token_or_left;
    if (next != none) {
      at = next;
      continue;
    }
    const std::uint32_t fresh = take_slots(1);
    (right ? slots_[at].child_or_right : slots_[at].token_or_left) = fresh;
    at = fresh;
  }
  slots_[at] = child;
  return at;
}

void RecentCounts::turn_into_tree(Node& node) {
  const std::uint32_t top = take_slots(1);
  for (std::uint32_t i = 0; i < node.size; ++i) {
    const Slot child = slots_[node.first + i];
    insert_in_tree(top, child);
    add_to_tree(top, child.token_or_left, child.share);
  }
  node.first = top;
}

void RecentCounts::add_to_tree(std::uint32_t top, Token token, std::uint32_t share) {
  std::uint32_t at = top;
  for (int bit = token_bits_ - 1; bit >= 0; --bit) {
    Slot& inner = slots_[at];
    const bool right = (token >> static_cast<unsigned>(bit) & 1U) != 0;
    inner.share += right ? 0 : share;
    at = right ? inner.child_or_right : inner.token_or_left;
  }
}

void RecentCounts::count(std::uint32_t node, std::uint32_t slot, Token token) {
  Node& at = nodes_[node];
  const bool first = slots_[slot].share == 0;
  const std::uint32_t more = first ? 1 : 2;
  slots_[slot].share += more;
  at.total += more;
  at.variety += first ? 1 : 0;
  if (at.has_tree()) add_to_tree(at.first, token, more);
}

void RecentCounts::see(std::uint32_t node, Token token) {
  Node& at = nodes_[node];
  at.run = at.last == token ? at.run + 1 : 0;
  at.last = token;
}

}  // namespace seqkv::trie
