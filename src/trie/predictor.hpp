// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The distribution of the next token, as intervals of integers: what the token coder codes by (docs/token-coder.md).
///
/// A chain of levels, from the shortest context to the longest; each has counts of tokens and a weight. Level i gives a
/// token P_i = (1 - g_i) f_i / T_i + g_i P_(i-1), and below all is the uniform distribution. Here this is done in
/// units of 1/M: the levels share out M - V of them, every token has one of its own, and the interval of a token starts
/// where those of the smaller tokens end:
///     F(s) = s + floor(U s / V) + sum over levels of floor(W cum(s) / T)
/// grows by at least one from token to token, is 0 at 0 and M at V, whatever the counts.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "core/range_coder.hpp"
#include "seqkv/limits.hpp"
#include "trie/recent_counts.hpp"
#include "trie/token_weights.hpp"
#include "trie/window_counts.hpp"

namespace seqkv::trie {

inline constexpr unsigned interval_bits = 28;
inline constexpr std::uint64_t interval_one = std::uint64_t{1} << interval_bits;  ///< M

/// What the levels said about one token, for the training of weights.
struct Evidence {
  struct Level {
    std::uint16_t weight;  ///< its place in the table
    float probability;     ///< f / T
  };
  std::vector<Level> levels;         ///< of all tokens, each from the shortest context on
  std::vector<std::uint8_t> counts;  ///< levels of each token
};

class Predictor {
 public:
  /// `vocabulary` is above all tokens of the trie; `weights` are token_weight_count(depth). Both references must live
  /// as long.
  Predictor(const WindowCounts& learned, std::span<const std::uint16_t> weights, Token vocabulary, bool adaptive);

  /// To the start of a block. Must be called before all else.
  void restart();
  Interval interval_of(Token token);
  /// The token whose interval holds `point`, below M.
  Token token_at(std::uint64_t point, Interval& interval);
  /// To the next token; `token` is the one that interval_of or token_at had last.
  void advance(Token token);
  /// As interval_of.
  void observe(Token token, Evidence& evidence);

 private:
  static constexpr unsigned most_depth = limits::max_window_depth;

  /// A context in the trie: after `edge` tokens of a node's edge, and where the token in hand leads.
  struct Place {
    std::uint64_t node;
    std::uint64_t edge;
    std::uint64_t next;  ///< a child or, inside of an edge, the node itself; or none
  };
  /// A context in the block.
  struct Recent {
    std::uint32_t node;
    std::uint32_t slot;  ///< of the token in hand, or none
  };

  enum class Form : std::uint8_t { one_child, nodes, row, tree };
  enum class Source : std::uint8_t { learned, recent, last_token };
  struct Level {
    Form form;
    Source source;
    std::uint8_t length;        ///< of the context
    std::uint16_t weight;       ///< place in the table
    Token token;                ///< one_child
    std::uint64_t first, last;  ///< children: nodes or slots; tree: its top
    std::uint64_t total;        ///< T; 0: the level is only there to find where the token leads
    std::uint64_t units;        ///< W
  };
  /// A level while a token is looked for: what is left of its children.
  struct Open {
    std::uint8_t level;
    std::uint64_t first, last;   ///< children from the smallest token in question to the largest; tree: first alone
    std::uint64_t before;        ///< shares of the children before
    std::uint64_t units;         ///< floor(W before / T)
    std::uint64_t split;         ///< the first child on the right
    std::uint64_t split_before;  ///< and the same for it
    std::uint64_t split_units;
  };

  void prepare();
  void add_learned(unsigned length);
  void add_recent(unsigned length);
  void weigh();
  struct Found {
    std::uint64_t before, share;
  };
  Found look_up(const Level& level, Token token);
  void lead(const Level& level, std::uint64_t to);
  std::uint64_t uniform(std::uint64_t token) const { return token + rest_ * token / vocabulary_; }
  unsigned open_levels(std::array<Open, 3 * most_depth>& open);
  void split_at(Open& open, Token middle) const;
  bool go_right(Open& open, Token middle) const;
  bool go_left(Open& open, Token middle) const;
  void move_learned();
  void move_recent(Token token);

  const WindowCounts* learned_;
  std::span<const std::uint16_t> weights_;
  std::uint64_t vocabulary_;
  bool adaptive_;
  RecentCounts recent_;
  unsigned learned_contexts_ = 0;
  unsigned recent_contexts_ = 0;
  unsigned levels_ = 0;
  std::uint64_t rest_ = 0;  ///< U
  std::array<Place, most_depth> learned_context_;
  std::array<Recent, most_depth> recent_context_;
  std::array<Level, 3 * most_depth> level_;
};

}  // namespace seqkv::trie
