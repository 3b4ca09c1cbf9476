// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// From windows to the arrays of their trie, for devices of many threads: a team a tile of windows, where the portable
/// kernels (backends/kokkos/window_trie.hpp, which has the mathematics) have a thread a piece. The same bytes.
///
/// Nodes of a level stand in the order of the windows that make them, so that their places are sums: of tiles before,
/// level after level, and of windows before in the same tile. A node counts the keys from the first window that has it
/// to the next window that does not: the one writes where it begins, the other where it ends.
#pragma once

#include <Kokkos_Core.hpp>
#include <cstdint>

#include "backends/kokkos/window_trie.hpp"
#include "core/bits.hpp"
#include "trie/image.hpp"
#include "trie/window_key.hpp"

namespace seqkv::gpu {

inline constexpr std::int64_t tile_windows = 256;    ///< of a team
inline constexpr std::int64_t piece_windows = 1024;  ///< of a thread that looks for where windows part

/// A thread a window.
template <int Words>
struct PackWindow {
  trie::KeyFormat format;
  const Token* tokens;
  const std::uint64_t* offsets;  ///< [sequences + 1]
  std::int64_t sequences;
  trie::WindowKey<Words>* keys;

  KOKKOS_FUNCTION void operator()(std::int64_t window) const {
    auto at = static_cast<std::uint64_t>(window);
    std::uint64_t last = at + static_cast<std::uint64_t>(format.depth);
    if (const std::uint64_t end = end_of_sequence(at); last > end) last = end;
    for (int w = 0; w < Words; ++w) {
      std::uint64_t word = 0;
      for (int s = 0; s < format.symbols_per_word; ++s, ++at) {
        word = word << static_cast<unsigned>(format.symbol_bits) | (at < last ? tokens[at] + 1U : 0U);
      }
      keys[window].word[w] = word;
    }
  }

 private:
  /// The first offset above `at`.
  KOKKOS_INLINE_FUNCTION std::uint64_t end_of_sequence(std::uint64_t at) const {
    std::int64_t low = 1, high = sequences;
    while (low < high) {
      const std::int64_t middle = (low + high) / 2;
      if (offsets[middle] > at) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return offsets[low];
  }
};

/// Everything the kernels below share. Arrays are in the memory of the execution space. Behind the distinct windows is
/// an end, which parts from the last of them at depth 0 and makes no node.
template <int Words>
struct WindowTiles {
  trie::KeyFormat format;
  const trie::WindowKey<Words>* keys = nullptr;  ///< [windows], sorted
  std::int64_t windows = 0;
  std::int64_t distinct = 0;
  std::uint32_t* first = nullptr;   ///< [distinct + 1]: where a distinct window stands first in `keys`
  std::uint8_t* common = nullptr;   ///< [distinct + 1]: tokens in common with the window before
  std::uint8_t* length = nullptr;   ///< [distinct]
  std::uint32_t* depths = nullptr;  ///< [distinct + 1]: of the nodes on the path, as a set
  std::int64_t tiles = 0;
  std::uint64_t* nodes = nullptr;   ///< [level][tile]: how many nodes the tile makes; then, those before them
  std::uint64_t* labels = nullptr;  ///< [level][tile]: the same of their label tokens
  std::uint32_t* begin = nullptr;   ///< [nodes]: the first key of a node
  std::uint32_t* end = nullptr;     ///< [nodes]: the key behind its last
  trie::MutableView out;

  /// Levels of nodes, with that of the root and one that stays empty.
  SEQKV_INLINE int levels() const { return format.depth + 2; }
  SEQKV_INLINE std::int64_t size_of_tile(std::int64_t tile) const {
    const std::int64_t left = distinct + 1 - tile * tile_windows;
    return left < tile_windows ? left : tile_windows;
  }

  /// What window i has on a level.
  struct Node {
    bool is_new = false;  ///< there is a node, and no window before has it
    int depth = 0;
    int above = 0;  ///< depth of its parent
    SEQKV_INLINE int label_tokens() const { return depth - above - 1; }
    /// For sums over windows: nodes in the upper half, label tokens in the lower.
    SEQKV_INLINE std::uint64_t size() const {
      return is_new ? std::uint64_t{1} << 32U | static_cast<unsigned>(label_tokens()) : 0;
    }
  };
  SEQKV_INLINE Node node(std::int64_t i, int level) const {
    std::uint32_t set = depths[i];
    Node found;
    for (; level > 0 && set != 0; --level, set &= set - 1) found.above = trailing_zeros(set);
    if (set == 0) return found;
    found.depth = trailing_zeros(set);
    found.is_new = found.depth > common[i];
    return found;
  }
  /// Whether the path of the window before i has a node on this level that the path of i does not have.
  SEQKV_INLINE bool ends_node(std::int64_t i, int level) const {
    if (i == 0) return false;
    const std::uint32_t before = depths[i - 1];
    return level > count_ones(before & kokkos::depths_below(common[i])) && level < count_ones(before);
  }
};

/// Distinct windows, by a scan over the keys.
template <int Words>
struct ListWindows {
  using value_type = std::uint32_t;
  WindowTiles<Words> w;
  KOKKOS_FUNCTION void operator()(std::int64_t i, std::uint32_t& number, bool final) const {
    const bool is_first = i == 0 || !(w.keys[i] == w.keys[i - 1]);
    if (final && is_first) {
      w.first[number] = static_cast<std::uint32_t>(i);
      w.common[number] = static_cast<std::uint8_t>(i == 0 ? 0 : w.format.common(w.keys[i - 1], w.keys[i]));
      w.length[number] = static_cast<std::uint8_t>(w.format.length(w.keys[i]));
    }
    number += is_first ? 1 : 0;
    if (final && i == w.windows - 1) {
      w.first[number] = static_cast<std::uint32_t>(w.windows);
      w.common[number] = 0;
    }
  }
};

/// What a piece does to the sets L from its left end to its right, and to R the other way.
template <int Words>
struct SummarizeParting {
  WindowTiles<Words> w;
  kokkos::DepthUpdate* left;   ///< [pieces]
  kokkos::DepthUpdate* right;  ///< [pieces]
  KOKKOS_FUNCTION void operator()(std::int64_t piece) const {
    const std::int64_t from = piece * piece_windows;
    const std::int64_t last = from + piece_windows < w.distinct ? from + piece_windows : w.distinct;
    kokkos::DepthUpdate to_right, to_left;
    for (std::int64_t i = from; i < last; ++i) to_right.part_at(w.common[i]);
    for (std::int64_t i = last; i-- > from;) to_left.part_at(w.common[i + 1]);
    left[piece] = to_right;
    right[piece] = to_left;
  }
};

/// Turns the updates of pieces into the sets at their ends: `add` becomes L left of, or R right of, a piece. One team.
template <class ExecutionSpace>
struct ScanParting {
  using Team = typename Kokkos::TeamPolicy<ExecutionSpace>::member_type;
  using Updates =
      Kokkos::View<kokkos::DepthUpdate*, typename ExecutionSpace::scratch_memory_space, Kokkos::MemoryUnmanaged>;
  kokkos::DepthUpdate* left;
  kokkos::DepthUpdate* right;
  std::int64_t pieces;

  static std::size_t scratch_bytes(int team_size) { return Updates::shmem_size(static_cast<std::size_t>(team_size)); }

  KOKKOS_FUNCTION void operator()(const Team& team) const {
    const Updates shares(team.team_scratch(0), static_cast<std::size_t>(team.team_size()));
    scan(team, shares, [this](std::int64_t p) -> kokkos::DepthUpdate& { return left[p]; });
    scan(team, shares, [this](std::int64_t p) -> kokkos::DepthUpdate& { return right[pieces - 1 - p]; });
  }

 private:
  /// Each thread composes the updates of its share, one goes over the shares, each goes over its own again.
  template <class At>
  KOKKOS_INLINE_FUNCTION void scan(const Team& team, const Updates& shares, const At& at) const {
    const int thread = team.team_rank();
    const std::int64_t from = pieces * thread / team.team_size();
    const std::int64_t last = pieces * (thread + 1) / team.team_size();
    kokkos::DepthUpdate share;
    for (std::int64_t p = from; p < last; ++p) share = share.then(at(p));
    shares(thread) = share;
    team.team_barrier();
    if (thread == 0) {
      std::uint32_t set = kokkos::only_depth(0);
      for (int t = 0; t < team.team_size(); ++t) set = replace(shares(t), set);
    }
    team.team_barrier();
    std::uint32_t set = shares(thread).add;
    for (std::int64_t p = from; p < last; ++p) set = replace(at(p), set);
    team.team_barrier();
  }
  /// Keeps the set before an update in its place; the set after it.
  static KOKKOS_INLINE_FUNCTION std::uint32_t replace(kokkos::DepthUpdate& update, std::uint32_t before) {
    const std::uint32_t after = update(before);
    update.add = before;
    return after;
  }
};

/// A = L | R | {length} of every window of a piece.
template <int Words>
struct WriteDepths {
  WindowTiles<Words> w;
  const kokkos::DepthUpdate* left;
  const kokkos::DepthUpdate* right;
  KOKKOS_FUNCTION void operator()(std::int64_t piece) const {
    const std::int64_t from = piece * piece_windows;
    const std::int64_t last = from + piece_windows < w.distinct ? from + piece_windows : w.distinct;
    kokkos::DepthUpdate set{~std::uint32_t{0}, right[piece].add};
    for (std::int64_t i = last; i-- > from;) {
      set.part_at(w.common[i + 1]);
      w.depths[i] = set.add;
    }
    set.add = left[piece].add;
    for (std::int64_t i = from; i < last; ++i) {
      set.part_at(w.common[i]);
      w.depths[i] |= set.add | kokkos::only_depth(w.length[i]);
    }
    if (last == w.distinct) w.depths[last] = kokkos::only_depth(0);
  }
};

/// The counts of all nodes together: every window counts in each node of its path.
template <int Words>
struct SumPaths {
  WindowTiles<Words> w;
  KOKKOS_FUNCTION void operator()(std::int64_t i, std::uint64_t& sum) const {
    sum += std::uint64_t{w.first[i + 1] - w.first[i]} * static_cast<unsigned>(count_ones(w.depths[i]));
  }
};

/// What a tile makes on each level. A team a tile.
template <class ExecutionSpace, int Words>
struct CountTiles {
  using Team = typename Kokkos::TeamPolicy<ExecutionSpace>::member_type;
  WindowTiles<Words> w;
  KOKKOS_FUNCTION void operator()(const Team& team) const {
    const std::int64_t tile = team.league_rank();
    const std::int64_t from = tile * tile_windows;
    for (int level = 0; level < w.levels(); ++level) {
      std::uint64_t size = 0;
      Kokkos::parallel_reduce(
          Kokkos::TeamThreadRange(team, w.size_of_tile(tile)),
          [&](std::int64_t i, std::uint64_t& sum) { sum += w.node(from + i, level).size(); }, size);
      Kokkos::single(Kokkos::PerTeam(team), [&]() {
        w.nodes[level * w.tiles + tile] = size >> 32U;
        w.labels[level * w.tiles + tile] = size & UINT32_MAX;
      });
    }
  }
};

/// Sizes of tiles to those of all before them, level after level; `start` is what stands before the first.
struct ScanTiles {
  using value_type = std::uint64_t;
  std::uint64_t* sizes;
  std::uint64_t start;
  KOKKOS_FUNCTION void operator()(std::int64_t i, std::uint64_t& sum, bool final) const {
    const std::uint64_t own = sizes[i];
    if (final) sizes[i] = start + sum;
    sum += own;
  }
};

/// The nodes that a tile makes, and where those end that it ends. A team a tile, levels from the deepest: the first
/// child of a node is the node that stood next on the level below.
template <class ExecutionSpace, int Words>
struct WriteTiles {
  using Team = typename Kokkos::TeamPolicy<ExecutionSpace>::member_type;
  using Nodes = Kokkos::View<std::uint64_t*, typename ExecutionSpace::scratch_memory_space, Kokkos::MemoryUnmanaged>;
  WindowTiles<Words> w;

  static std::size_t scratch_bytes() { return Nodes::shmem_size(tile_windows); }

  KOKKOS_FUNCTION void operator()(const Team& team) const {
    const std::int64_t tile = team.league_rank();
    const std::int64_t size = w.size_of_tile(tile);
    const Nodes below(team.team_scratch(0), tile_windows);
    const int deepest = w.levels() - 1;
    Kokkos::parallel_for(Kokkos::TeamThreadRange(team, size),
                         [&](std::int64_t i) { below(i) = w.nodes[deepest * w.tiles + tile]; });
    team.team_barrier();
    for (int level = deepest - 1; level > 0; --level) {
      const std::uint64_t nodes = w.nodes[level * w.tiles + tile];
      const std::uint64_t labels = w.labels[level * w.tiles + tile];
      Kokkos::parallel_scan(Kokkos::TeamThreadRange(team, size), [&](std::int64_t j, std::uint64_t& sum, bool final) {
        const std::int64_t i = tile * tile_windows + j;
        const auto node = w.node(i, level);
        if (final) {
          const std::uint64_t next = nodes + (sum >> 32U);
          if (node.is_new) write(i, node, next, labels + (sum & UINT32_MAX), below(j));
          if (w.ends_node(i, level)) w.end[next - 1] = w.first[i];
          below(j) = next;
        }
        sum += node.size();
      });
      team.team_barrier();
    }
  }

 private:
  KOKKOS_INLINE_FUNCTION void write(std::int64_t i, const typename WindowTiles<Words>::Node& made, std::uint64_t node,
                                    std::uint64_t label, std::uint64_t child) const {
    const trie::WindowKey<Words>& key = w.keys[w.first[i]];
    w.begin[node] = w.first[i];
    w.out.token.set(node, w.format.symbol(key, made.above) - 1);
    w.out.child.set(node, child);
    w.out.label.set(node, label);
    for (int d = made.above + 1; d < made.depth; ++d) w.out.label_token.set(label++, w.format.symbol(key, d) - 1);
  }
};

/// Sums of the counts of nodes, by a scan over them.
template <int Words>
struct SumNodes {
  using value_type = std::uint64_t;
  WindowTiles<Words> w;
  KOKKOS_FUNCTION void operator()(std::int64_t node, std::uint64_t& sum, bool final) const {
    sum += node == 0 ? static_cast<std::uint64_t>(w.windows) : std::uint64_t{w.end[node] - w.begin[node]};
    if (final) w.out.below.set(static_cast<std::uint64_t>(node) + 1, sum);
  }
};

/// The root, and the ends of the arrays of offsets, of a body that is zero.
struct WriteRoot {
  trie::MutableView out;
  std::uint64_t nodes, label_tokens;
  KOKKOS_FUNCTION void operator()(std::int64_t) const {
    out.child.set(0, 1);
    out.child.set(nodes, nodes);
    out.label.set(nodes, label_tokens);
  }
};

}  // namespace seqkv::gpu
