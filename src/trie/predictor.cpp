// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "trie/predictor.hpp"

#include <algorithm>
#include <bit>
#include <utility>

namespace seqkv::trie {
namespace {

/// A block's counts start again when they have so many children: bounds the memory of a coder.
constexpr std::uint64_t most_recent_children = std::uint64_t{1} << 22U;

/// floor(units * part / total)
std::uint64_t scaled(std::uint64_t units, std::uint64_t part, std::uint64_t total) {
  if (part == 0) return 0;
  return part == total ? units : units * part / total;
}

/// The first node of [first, last) whose token is not below `token`. Tokens of siblings are distinct and ascend.
template <class Number>
std::uint64_t lower_bound(const Number* tokens, std::uint64_t first, std::uint64_t last, Token token) {
  std::uint64_t count = last - first;
  while (count > 0) {
    const std::uint64_t half = count / 2;
    const bool right = tokens[first + half] < token;
    first = right ? first + half + 1 : first;
    count = right ? count - half - 1 : half;
  }
  return first;
}
std::uint64_t lower_bound(const TokenArray& tokens, std::uint64_t first, std::uint64_t last, Token token) {
  return tokens.narrow != nullptr ? lower_bound(tokens.narrow, first, last, token)
                                  : lower_bound(tokens.wide, first, last, token);
}

}  // namespace

Predictor::Predictor(const WindowCounts& learned, std::span<const std::uint16_t> weights, Token vocabulary,
                     bool adaptive)
    : learned_(&learned),
      weights_(weights),
      vocabulary_(vocabulary),
      adaptive_(adaptive),
      recent_(std::bit_width(vocabulary - 1)) {}

void Predictor::restart() {
  learned_contexts_ = 1;
  learned_context_[0] = {TrieView::root, 0, TrieView::none};
  if (adaptive_) {
    recent_.clear();
    recent_contexts_ = 1;
    recent_context_[0] = {RecentCounts::root, RecentCounts::none};
  }
  prepare();
}

// ---- the levels -----------------------------------------------------------------------------------------------------

void Predictor::prepare() {
  levels_ = 0;
  for (unsigned length = 0; length < std::max(learned_contexts_, recent_contexts_); ++length) {
    if (length < learned_contexts_) add_learned(length);
    if (length < recent_contexts_) add_recent(length);
  }
  weigh();
}

void Predictor::add_learned(unsigned length) {
  const TrieView& trie = learned_->trie();
  Place& at = learned_context_[length];
  at.next = TrieView::none;
  Level level{};
  level.source = Source::learned;
  level.length = static_cast<std::uint8_t>(length);
  std::uint8_t of = 0;
  if (at.edge < trie.edge_tokens(at.node)) {
    of = learned_->edge_class(at.node, length);
    level.form = Form::one_child;
    level.token = trie.edge_token(at.node, at.edge);
    level.first = at.node;
    level.total = 1;
  } else {
    of = learned_->node_class(at.node);
    level.first = trie.child[at.node];
    level.last = trie.child[at.node + 1];
    if (level.first == level.last) return;
    if (level.last - level.first == 1) {
      level.form = Form::one_child;
      level.token = trie.token[level.first];
      level.total = 1;
    } else {
      level.form = Form::nodes;
      level.total = learned_->before(level.last) - learned_->before(level.first);
    }
  }
  if (of == WindowCounts::silent) {
    level.total = 0;
  } else {
    const Counts counts = adaptive_ ? Counts::learned_beside_recent : Counts::learned_alone;
    level.weight = static_cast<std::uint16_t>(weight_row(length, counts) + of);
  }
  level_[levels_++] = level;
}

void Predictor::add_recent(unsigned length) {
  Recent& at = recent_context_[length];
  at.slot = RecentCounts::none;
  const RecentCounts::Node& node = recent_.node(at.node);
  if (node.size == 0) return;
  Level level{};
  level.source = Source::recent;
  level.length = static_cast<std::uint8_t>(length);
  level.first = node.first;
  level.last = node.first + node.size;
  level.total = node.total;
  level.form = node.has_tree() ? Form::tree : Form::row;
  if (node.size == 1) {
    level.form = Form::one_child;
    level.token = recent_.slot(node.first).token_or_left;
    level.total = node.total > 0 ? 1 : 0;
  }
  if (node.total > 0) {
    level.weight =
        static_cast<std::uint16_t>(weight_row(length, Counts::recent) + class_of(node.count(), node.variety));
  }
  level_[levels_++] = level;
  if (length == 0 || node.variety < 2) return;
  Level last{};
  last.form = Form::one_child;
  last.source = Source::last_token;
  last.length = level.length;
  last.token = node.last;
  last.total = 1;
  last.weight = static_cast<std::uint16_t>(last_token_weight(length, node.run, node.count()));
  level_[levels_++] = last;
}

void Predictor::weigh() {
  std::uint64_t rest = interval_one - vocabulary_;
  for (unsigned i = levels_; i-- > 0;) {
    Level& level = level_[i];
    if (level.total == 0) continue;
    const std::uint64_t shorter = rest * weights_[level.weight] >> 16U;
    level.units = rest - shorter;
    rest = shorter;
  }
  rest_ = rest;
}

// ---- the interval of a token ----------------------------------------------------------------------------------------

/// Notes where the token in hand leads.
void Predictor::lead(const Level& level, std::uint64_t to) {
  if (level.source == Source::learned) {
    learned_context_[level.length].next = to;
  } else if (level.source == Source::recent) {
    recent_context_[level.length].slot = static_cast<std::uint32_t>(to);
  }
}

Predictor::Found Predictor::look_up(const Level& level, Token token) {
  switch (level.form) {
    case Form::one_child:
      if (level.token == token) lead(level, level.first);
      return {level.token < token ? level.total : 0, level.token == token ? level.total : 0};
    case Form::nodes: {
      const TrieView& trie = learned_->trie();
      const std::uint64_t at = lower_bound(trie.token, level.first, level.last, token);
      const std::uint64_t before = learned_->before(at);
      const std::uint64_t all_before = before - learned_->before(level.first);
      if (at == level.last || trie.token[at] != token) return {all_before, 0};
      lead(level, at);
      return {all_before, learned_->before(at + 1) - before};
    }
    case Form::row:
    case Form::tree: {
      std::uint64_t before = 0;
      const std::uint32_t slot = recent_.find(recent_.node(recent_context_[level.length].node), token, before);
      lead(level, slot);
      return {before, slot == RecentCounts::none ? 0 : recent_.slot(slot).share};
    }
  }
  return {};
}

Interval Predictor::interval_of(Token token) {
  std::uint64_t start = uniform(token);
  std::uint64_t end = uniform(std::uint64_t{token} + 1);
  for (unsigned i = 0; i < levels_; ++i) {
    const Level& level = level_[i];
    const Found found = look_up(level, token);
    if (level.units == 0) continue;
    const std::uint64_t from = scaled(level.units, found.before, level.total);
    start += from;
    end += found.share == 0 ? from : scaled(level.units, found.before + found.share, level.total);
  }
  return {start, end - start};
}

void Predictor::observe(Token token, Evidence& evidence) {
  const std::size_t before = evidence.levels.size();
  for (unsigned i = 0; i < levels_; ++i) {
    const Level& level = level_[i];
    const Found found = look_up(level, token);
    if (level.total == 0) continue;
    const double probability = static_cast<double>(found.share) / static_cast<double>(level.total);
    evidence.levels.push_back({level.weight, static_cast<float>(probability)});
  }
  evidence.counts.push_back(static_cast<std::uint8_t>(evidence.levels.size() - before));
}

// ---- the token of a point -------------------------------------------------------------------------------------------

unsigned Predictor::open_levels(std::array<Open, 3 * most_depth>& open) {
  for (unsigned i = 0; i < levels_; ++i) {
    open[i].level = static_cast<std::uint8_t>(i);
    open[i].first = level_[i].first;
    open[i].last = level_[i].last;
    open[i].before = open[i].units = 0;
  }
  return levels_;
}

/// What of a level lies before token `middle`.
inline void Predictor::split_at(Open& open, Token middle) const {
  const Level& level = level_[open.level];
  switch (level.form) {
    case Form::one_child:
      open.split_units = level.token < middle ? level.units : 0;
      return;
    case Form::nodes:
      open.split = lower_bound(learned_->trie().token, open.first, open.last, middle);
      open.split_before =
          open.split == open.first ? open.before : learned_->before(open.split) - learned_->before(level.first);
      break;
    case Form::row:
      open.split = open.first;
      open.split_before = open.before;
      for (; open.split < open.last; ++open.split) {
        const RecentCounts::Slot& slot = recent_.slot(static_cast<std::uint32_t>(open.split));
        if (slot.token_or_left >= middle) break;
        open.split_before += slot.share;
      }
      break;
    case Form::tree:
      open.split_before = open.before + recent_.slot(static_cast<std::uint32_t>(open.first)).share;
      break;
  }
  open.split_units =
      open.split_before == open.before ? open.units : scaled(level.units, open.split_before, level.total);
}

/// Whether something of the level is left among the tokens from `middle` on.
inline bool Predictor::go_right(Open& open, Token middle) const {
  const Level& level = level_[open.level];
  open.units = open.split_units;
  open.before = open.split_before;
  switch (level.form) {
    case Form::one_child:
      return level.token >= middle;
    case Form::tree:
      open.first = recent_.slot(static_cast<std::uint32_t>(open.first)).child_or_right;
      return open.first != RecentCounts::none;
    default:
      open.first = open.split;
      return open.first < open.last;
  }
}

/// And before it.
inline bool Predictor::go_left(Open& open, Token middle) const {
  const Level& level = level_[open.level];
  switch (level.form) {
    case Form::one_child:
      return level.token < middle;
    case Form::tree:
      open.first = recent_.slot(static_cast<std::uint32_t>(open.first)).token_or_left;
      return open.first != RecentCounts::none;
    default:
      open.last = open.split;
      return open.first < open.last;
  }
}

/// Bit by bit, the highest first. Most levels soon have no child left among the tokens in question: what they add to F
/// is then the same for all of these.
Token Predictor::token_at(std::uint64_t point, Interval& interval) {
  std::array<Open, 3 * most_depth> open;
  unsigned opened = open_levels(open);
  std::uint64_t settled = 0;
  std::uint64_t token = 0;
  std::uint64_t start = 0;
  std::uint64_t end = interval_one;
  for (std::uint64_t half = std::bit_ceil(vocabulary_) / 2; half > 0; half /= 2) {
    const std::uint64_t middle = token + half;
    bool right = false;
    if (middle < vocabulary_) {
      std::uint64_t at = settled + uniform(middle);
      for (unsigned i = 0; i < opened; ++i) {
        split_at(open[i], static_cast<Token>(middle));
        at += open[i].split_units;
      }
      right = point >= at;
      (right ? start : end) = at;
    } else {
      for (unsigned i = 0; i < opened; ++i) open[i].split = open[i].last;
    }
    if (right) token = middle;
    for (unsigned i = 0; i < opened;) {
      const bool left =
          right ? go_right(open[i], static_cast<Token>(middle)) : go_left(open[i], static_cast<Token>(middle));
      if (left) {
        ++i;
      } else {
        settled += open[i].units;
        open[i] = open[--opened];
      }
    }
  }
  for (unsigned i = 0; i < opened; ++i) lead(level_[open[i].level], open[i].first);
  interval = {start, end - start};
  return static_cast<Token>(token);
}

// ---- on to the next token -------------------------------------------------------------------------------------------

void Predictor::advance(Token token) {
  move_learned();
  if (adaptive_) move_recent(token);
  prepare();
}

void Predictor::move_learned() {
  const unsigned longest = learned_->depth() - 1;
  unsigned known = 0;
  while (known < std::min(learned_contexts_, longest) && learned_context_[known].next != TrieView::none) ++known;
  for (unsigned length = known; length > 0; --length) {
    const Place& shorter = learned_context_[length - 1];
    const bool inside = shorter.next == shorter.node;
    learned_context_[length] = {shorter.next, inside ? shorter.edge + 1 : 1, TrieView::none};
  }
  learned_contexts_ = known + 1;
}

void Predictor::move_recent(Token token) {
  const unsigned depth = learned_->depth();
  std::uint32_t shorter = RecentCounts::root;
  std::uint32_t shorter_slot = RecentCounts::none;
  std::array<std::uint32_t, most_depth + 1> next;
  next[0] = RecentCounts::root;
  for (unsigned length = 0; length < recent_contexts_; ++length) {
    const Recent at = recent_context_[length];
    std::uint32_t slot = at.slot;
    if (slot == RecentCounts::none) {
      slot = recent_.insert(at.node, token, length + 1 < depth);
      // A token to the left of the window one shorter that was not seen there before.
      if (length > 0) recent_.count(shorter, shorter_slot, token);
    }
    if (length + 1 == depth) recent_.count(at.node, slot, token);
    if (length > 0) recent_.see(at.node, token);
    next[length + 1] = recent_.slot(slot).child_or_right;
    shorter = at.node;
    shorter_slot = slot;
  }
  recent_contexts_ = std::min(recent_contexts_ + 1, depth);
  for (unsigned length = 0; length < recent_contexts_; ++length) recent_context_[length].node = next[length];
  if (recent_.children() < most_recent_children) return;
  recent_.clear();
  recent_contexts_ = 1;
}

}  // namespace seqkv::trie
