// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// From sorted window keys to the arrays of a trie, portable.
///
/// Let s_0 < s_1 < ... be the distinct windows and l_i the length of the common prefix of s_(i-1) and s_i. The nodes on
/// the path of s_i are, as a set of depths,
///
///     A_i = L_i | R_i | {len s_i},   L_i = (L_(i-1) & {d < l_i}) | {l_i},   R_i = (R_(i+1) & {d < l_(i+1)}) |
///     {l_(i+1)}:
///
/// where it parts from windows before, from windows after, and where it ends. Depths are below 32, so sets are words.
/// s_i is the first window of the nodes of A_i that are deeper than l_i: it makes them. Its node at depth d stands on
/// level |A_i & {d' < d}|, and within a level nodes are made in their order. So two passes over the windows, cut in
/// pieces, make the trie in breadth-first order: one counts nodes of each level, one writes them.
#pragma once

#include <Kokkos_Core.hpp>
#include <cstdint>

#include "core/bits.hpp"
#include "trie/image.hpp"
#include "trie/window_key.hpp"

namespace seqkv::kokkos {

inline constexpr int most_levels = 33;  ///< of nodes, with the root and one that stays empty

/// The set of depths below d.
SEQKV_INLINE std::uint32_t depths_below(int d) { return (std::uint32_t{1} << static_cast<unsigned>(d)) - 1; }
SEQKV_INLINE std::uint32_t only_depth(int d) { return std::uint32_t{1} << static_cast<unsigned>(d); }

/// Levels of the nodes on a path, by their depths.
struct Path {
  int level[32] = {};
  int last = 0;  ///< level of the deepest

  /// The path that has these depths.
  SEQKV_INLINE explicit Path(std::uint32_t depths) {
    for (last = -1; depths != 0; depths &= depths - 1) level[trailing_zeros(depths)] = ++last;
  }
  /// Goes to the node at a depth that the path has.
  SEQKV_INLINE void back_to(int depth) { last = level[depth]; }
  SEQKV_INLINE int add(int depth) { return level[depth] = ++last; }
};

/// x -> (x & keep) | add: what some windows do to L or R. Closed under composition.
struct DepthUpdate {
  std::uint32_t keep = ~std::uint32_t{0};
  std::uint32_t add = 0;

  SEQKV_INLINE std::uint32_t operator()(std::uint32_t set) const { return (set & keep) | add; }
  SEQKV_INLINE DepthUpdate then(const DepthUpdate& next) const {
    return {keep & next.keep, (add & next.keep) | next.add};
  }
  /// First this, then parting at depth d.
  SEQKV_INLINE void part_at(int d) {
    keep &= depths_below(d);
    add = (add & depths_below(d)) | only_depth(d);
  }
};

/// What a piece of the distinct windows makes, on each level.
struct LevelCounts {
  std::uint64_t nodes[most_levels];
  std::uint64_t label_tokens[most_levels];
  std::uint32_t begin[most_levels];  ///< the first key of the last node
};

/// Everything the kernels share. Arrays are in the memory of the execution space.
template <int Words>
struct WindowTrie {
  trie::KeyFormat format;
  const trie::WindowKey<Words>* keys = nullptr;  ///< [windows], sorted
  std::int64_t windows = 0;
  std::uint32_t* first = nullptr;   ///< [distinct + 1]: where a distinct window stands first in `keys`
  std::uint8_t* common = nullptr;   ///< [distinct + 1]: l_i; 0 at both ends
  std::uint32_t* depths = nullptr;  ///< [distinct]: A_i
  std::int64_t distinct = 0;
  std::int64_t pieces = 0;              ///< the same pieces for all kernels
  std::uint32_t* heads = nullptr;       ///< [pieces]: distinct windows that start in a piece of `keys`
  DepthUpdate* left = nullptr;          ///< [pieces]
  DepthUpdate* right = nullptr;         ///< [pieces]
  LevelCounts* levels = nullptr;        ///< [pieces]; counts, then where they start
  std::uint64_t* sum_counts = nullptr;  ///< [pieces]
  trie::MutableView out;

  SEQKV_INLINE std::int64_t key_from(std::int64_t piece) const { return windows * piece / pieces; }
  SEQKV_INLINE std::int64_t from(std::int64_t piece) const { return distinct * piece / pieces; }
  SEQKV_INLINE bool is_head(std::int64_t i) const { return i == 0 || !(keys[i] == keys[i - 1]); }
  SEQKV_INLINE const trie::WindowKey<Words>& window(std::int64_t i) const { return keys[first[i]]; }
  SEQKV_INLINE std::uint32_t count(std::int64_t i) const { return first[i + 1] - first[i]; }
};

/// Packs a piece of a stream of symbols, in which sequences end with a 0, from the right: each key is the one before it
/// with a symbol shifted in. Ends have the key 0.
template <int Words>
struct PackWindows {
  trie::KeyFormat format;
  const std::uint32_t* symbols;
  std::int64_t count, pieces;
  trie::WindowKey<Words>* keys;

  KOKKOS_FUNCTION void operator()(std::int64_t piece) const {
    const std::int64_t begin = count * piece / pieces;
    const std::int64_t end = count * (piece + 1) / pieces;
    trie::WindowKey<Words> key{};
    for (std::int64_t i = (end + format.depth < count ? end + format.depth : count) - 1; i >= begin; --i) {
      if (symbols[i] == 0) {
        key = {};
      } else {
        trie::shift_in(format, symbols[i], key);
      }
      if (i >= end) continue;
      keys[i] = key;
      format.trim(keys[i]);
    }
  }
};

template <int Words>
struct CountHeads {
  WindowTrie<Words> w;
  KOKKOS_FUNCTION void operator()(std::int64_t piece) const {
    std::uint32_t heads = 0;
    for (std::int64_t i = w.key_from(piece); i < w.key_from(piece + 1); ++i) heads += w.is_head(i) ? 1 : 0;
    w.heads[piece] = heads;
  }
};

/// `heads` has become the number of heads before the piece.
template <int Words>
struct WriteHeads {
  WindowTrie<Words> w;
  KOKKOS_FUNCTION void operator()(std::int64_t piece) const {
    std::uint32_t next = w.heads[piece];
    for (std::int64_t i = w.key_from(piece); i < w.key_from(piece + 1); ++i) {
      if (!w.is_head(i)) continue;
      w.common[next] = static_cast<std::uint8_t>(i == 0 ? 0 : w.format.common(w.keys[i - 1], w.keys[i]));
      w.first[next++] = static_cast<std::uint32_t>(i);
    }
  }
};

/// The end of the list of distinct windows.
template <int Words>
struct EndHeads {
  WindowTrie<Words> w;
  KOKKOS_FUNCTION void operator()(std::int64_t) const {
    w.first[w.distinct] = static_cast<std::uint32_t>(w.windows);
    w.common[w.distinct] = 0;
  }
};

/// What a piece does to L from its left end to its right, and to R the other way.
template <int Words>
struct SummarizeParting {
  WindowTrie<Words> w;
  KOKKOS_FUNCTION void operator()(std::int64_t piece) const {
    DepthUpdate left, right;
    for (std::int64_t i = w.from(piece); i < w.from(piece + 1); ++i) left.part_at(w.common[i]);
    for (std::int64_t i = w.from(piece + 1); i-- > w.from(piece);) right.part_at(w.common[i + 1]);
    w.left[piece] = left;
    w.right[piece] = right;
  }
};

/// Turns the updates of pieces into the sets at their ends: `add` becomes L left of, or R right of, a piece.
struct ScanParting {
  DepthUpdate* left;
  DepthUpdate* right;
  std::int64_t pieces;
  KOKKOS_FUNCTION void operator()(std::int64_t) const {
    std::uint32_t set = only_depth(0);
    for (std::int64_t p = 0; p < pieces; ++p) {
      const std::uint32_t before = set;
      set = left[p](set);
      left[p].add = before;
    }
    set = only_depth(0);
    for (std::int64_t p = pieces; p-- > 0;) {
      const std::uint32_t after = set;
      set = right[p](set);
      right[p].add = after;
    }
  }
};

/// Writes A, and counts what each level gets.
template <int Words>
struct CountLevels {
  WindowTrie<Words> w;
  KOKKOS_FUNCTION void operator()(std::int64_t piece) const {
    std::uint32_t right = w.right[piece].add;
    for (std::int64_t i = w.from(piece + 1); i-- > w.from(piece);) {
      const int parting = w.common[i + 1];
      right = (right & depths_below(parting)) | only_depth(parting);
      w.depths[i] = right;
    }
    LevelCounts& counts = w.levels[piece];
    for (int level = 0; level < most_levels; ++level) {
      counts.nodes[level] = counts.label_tokens[level] = 0;
      counts.begin[level] = 0;
    }
    std::uint64_t sum = 0;
    std::uint32_t left = w.left[piece].add;
    Path path(shared(piece));
    for (std::int64_t i = w.from(piece); i < w.from(piece + 1); ++i) {
      const int parting = w.common[i];
      left = (left & depths_below(parting)) | only_depth(parting);
      const std::uint32_t depths = w.depths[i] | left | only_depth(w.format.length(w.window(i)));
      w.depths[i] = depths;
      path.back_to(parting);
      count_new(depths & ~(depths_below(parting) | only_depth(parting)), parting, w.first[i], path, counts);
      sum += std::uint64_t{w.count(i)} * static_cast<unsigned>(path.last + 1);
    }
    w.sum_counts[piece] = sum;
  }

 private:
  /// What the first path of a piece has in common with the one before it.
  SEQKV_INLINE std::uint32_t shared(std::int64_t piece) const {
    const std::int64_t i = w.from(piece);
    if (i == w.from(piece + 1)) return only_depth(0);
    const int parting = w.common[i];
    return ((w.depths[i] | w.left[piece].add) & depths_below(parting)) | only_depth(parting);
  }

  SEQKV_INLINE void count_new(std::uint32_t fresh, int parting, std::uint32_t key, Path& path,
                              LevelCounts& counts) const {
    int above = parting;
    for (; fresh != 0; fresh &= fresh - 1) {
      const int depth = trailing_zeros(fresh);
      const int level = path.add(depth);
      ++counts.nodes[level];
      counts.label_tokens[level] += static_cast<unsigned>(depth - above - 1);
      counts.begin[level] = key;
      above = depth;
    }
  }
};

/// Writes the nodes; `levels` has become where those of a piece start, and the last nodes before it. The count of node
/// n goes to below[n + 1].
template <int Words>
struct WriteNodes {
  WindowTrie<Words> w;
  KOKKOS_FUNCTION void operator()(std::int64_t piece) const {
    LevelCounts& at = w.levels[piece];
    const std::int64_t from = w.from(piece);
    Path path(from == 0 ? only_depth(0) : w.depths[from - 1]);
    for (std::int64_t i = from; i < w.from(piece + 1); ++i) {
      close(path, w.common[i], w.first[i], at);
      write(i, path, at);
    }
    if (w.from(piece + 1) == w.distinct) close(path, 0, w.first[w.distinct], at);
  }

 private:
  /// The nodes of the path that are deeper than the common prefix end here; they are the last of their levels.
  SEQKV_INLINE void close(Path& path, int parting, std::uint32_t key, const LevelCounts& at) const {
    for (int level = path.level[parting] + 1; level <= path.last; ++level) {
      w.out.below.set(at.nodes[level], key - at.begin[level]);
    }
    path.back_to(parting);
  }

  SEQKV_INLINE void write(std::int64_t i, Path& path, LevelCounts& at) const {
    const int parting = w.common[i];
    const trie::WindowKey<Words> key = w.window(i);
    int above = parting;
    std::uint32_t fresh = w.depths[i] & ~(depths_below(parting) | only_depth(parting));
    for (; fresh != 0; fresh &= fresh - 1) {
      const int depth = trailing_zeros(fresh);
      const int level = path.add(depth);
      const std::uint64_t node = at.nodes[level]++;
      w.out.token.set(node, w.format.symbol(key, above) - 1);
      w.out.child.set(node, at.nodes[level + 1]);
      w.out.label.set(node, at.label_tokens[level]);
      for (int d = above + 1; d < depth; ++d) {
        w.out.label_token.set(at.label_tokens[level]++, w.format.symbol(key, d) - 1);
      }
      at.begin[level] = w.first[i];
      above = depth;
    }
  }
};

/// The root, and the ends of the arrays of offsets.
template <int Words>
struct WriteRoot {
  WindowTrie<Words> w;
  std::uint64_t nodes, label_tokens;
  KOKKOS_FUNCTION void operator()(std::int64_t) const {
    w.out.token.set(0, 0);
    w.out.child.set(0, 1);
    w.out.label.set(0, 0);
    w.out.child.set(nodes, nodes);
    w.out.label.set(nodes, label_tokens);
    w.out.below.set(0, 0);
    w.out.below.set(1, static_cast<std::uint64_t>(w.windows));
  }
};

/// Counts of nodes become their sums.
struct SumCounts {
  trie::MutableIndices below;
  KOKKOS_FUNCTION void operator()(std::int64_t i, std::uint64_t& sum, bool final) const {
    const std::uint64_t node = static_cast<std::uint64_t>(i) + 1;
    sum += below.get(node);
    if (final) below.set(node, sum);
  }
};

}  // namespace seqkv::kokkos
