// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Builds tries of windows by the kernels of backends/gpu/window_trie.hpp, on any execution space.
#pragma once

#include <Kokkos_Core.hpp>
#include <cstdint>
#include <string>
#include <utility>

#include "backends/gpu/radix_sort.hpp"
#include "backends/gpu/window_trie.hpp"
#include "core/mirrored.hpp"
#include "core/try.hpp"
#include "seqkv/device_trie.hpp"
#include "trie/image.hpp"

namespace seqkv::trie {

/// A trie in the memory of a space.
template <class ExecutionSpace>
struct DeviceImage {
  TrieShape shape;
  Kokkos::View<std::byte*, typename ExecutionSpace::memory_space> memory;
};

/// Builds one trie; Words is what a key takes.
template <class ExecutionSpace, int Words>
class TileBuilder {
 public:
  using MemorySpace = typename ExecutionSpace::memory_space;
  using Key = WindowKey<Words>;

  /// Of checked sequences with tokens up to `largest`.
  TileBuilder(const ExecutionSpace& space, const KeyFormat& format, const TokenBatch<MemorySpace>& sequences,
              Token largest)
      : space_(space), sequences_(sequences), largest_(largest) {
    tiles_.format = format;
    tiles_.windows = static_cast<std::int64_t>(sequences.tokens.size());
  }

  /// Errors: limit_exceeded.
  Result<DeviceImage<ExecutionSpace>> run() {
    sort();
    list_windows();
    find_depths();
    DeviceImage<ExecutionSpace> image{count_nodes(), {}};
    SEQKV_TRY(check_size(image.shape));
    // Zeroed: gaps between the arrays, and numbers that are 0.
    image.memory = decltype(image.memory)(Kokkos::view_alloc(space_, "seqkv::trie::image"), Layout(image.shape).bytes);
    write(image);
    return image;
  }

 private:
  template <class T>
  using Array = Kokkos::View<T*, MemorySpace>;
  using Range = Kokkos::RangePolicy<ExecutionSpace, Kokkos::IndexType<std::int64_t>>;
  using Teams = Kokkos::TeamPolicy<ExecutionSpace>;

  /// Threads of a team that works on a tile, and of the one that scans all pieces.
  static constexpr int tile_threads = is_host_space<ExecutionSpace> ? 1 : 128;
  static constexpr int scan_threads = is_host_space<ExecutionSpace> ? 1 : 512;

  template <class T>
  Array<T> array(const std::string& label, std::int64_t count) const {
    return Array<T>(Kokkos::view_alloc(space_, Kokkos::WithoutInitializing, label), static_cast<std::size_t>(count));
  }
  Range range(std::int64_t count) const { return Range(space_, 0, count); }

  void sort() {
    const std::int64_t windows = tiles_.windows;
    keys_ = array<Key>("seqkv::trie::keys", windows);
    const auto scratch = array<Key>("seqkv::trie::scratch_keys", windows);
    Kokkos::parallel_for("seqkv::trie::pack_window", range(windows),
                         gpu::PackWindow<Words>{tiles_.format, sequences_.tokens.data(), sequences_.offsets.data(),
                                                std::int64_t(sequences_.offsets.size()) - 1, keys_.data()});
    tiles_.keys = gpu::sort_keys(space_, tiles_.format, keys_.data(), scratch.data(), windows);
    if (tiles_.keys != keys_.data()) keys_ = scratch;
  }

  void list_windows() {
    first_ = array<std::uint32_t>("seqkv::trie::first", tiles_.windows + 1);
    common_ = array<std::uint8_t>("seqkv::trie::common", tiles_.windows + 1);
    length_ = array<std::uint8_t>("seqkv::trie::length", tiles_.windows);
    tiles_.first = first_.data();
    tiles_.common = common_.data();
    tiles_.length = length_.data();
    std::uint32_t distinct = 0;
    Kokkos::parallel_scan("seqkv::trie::list_windows", range(tiles_.windows), gpu::ListWindows<Words>{tiles_},
                          distinct);
    tiles_.distinct = distinct;
    tiles_.tiles = tiles_.distinct / gpu::tile_windows + 1;  // with the end
  }

  void find_depths() {
    const std::int64_t pieces = (tiles_.distinct + gpu::piece_windows - 1) / gpu::piece_windows;
    const auto left = array<kokkos::DepthUpdate>("seqkv::trie::left", pieces);
    const auto right = array<kokkos::DepthUpdate>("seqkv::trie::right", pieces);
    depths_ = array<std::uint32_t>("seqkv::trie::depths", tiles_.distinct + 1);
    tiles_.depths = depths_.data();
    Kokkos::parallel_for("seqkv::trie::summarize_parting", range(pieces),
                         gpu::SummarizeParting<Words>{tiles_, left.data(), right.data()});
    using Scan = gpu::ScanParting<ExecutionSpace>;
    Kokkos::parallel_for(
        "seqkv::trie::scan_parting",
        Teams(space_, 1, scan_threads).set_scratch_size(0, Kokkos::PerTeam(Scan::scratch_bytes(scan_threads))),
        Scan{left.data(), right.data(), pieces});
    Kokkos::parallel_for("seqkv::trie::write_depths", range(pieces),
                         gpu::WriteDepths<Words>{tiles_, left.data(), right.data()});
    space_.fence("seqkv::trie::find_depths: its memory is local");
  }

  TrieShape count_nodes() {
    const std::int64_t sizes = tiles_.levels() * tiles_.tiles;
    nodes_ = array<std::uint64_t>("seqkv::trie::nodes", sizes);
    labels_ = array<std::uint64_t>("seqkv::trie::labels", sizes);
    tiles_.nodes = nodes_.data();
    tiles_.labels = labels_.data();
    Kokkos::parallel_for("seqkv::trie::count_tiles", teams(), gpu::CountTiles<ExecutionSpace, Words>{tiles_});
    TrieShape shape;
    shape.kind = TrieKind::windows;
    shape.depth_limit = static_cast<std::uint32_t>(tiles_.format.depth);
    shape.largest_token = largest_;
    shape.total = static_cast<std::uint64_t>(tiles_.windows);
    Kokkos::parallel_scan("seqkv::trie::scan_tiles", range(sizes), gpu::ScanTiles{tiles_.nodes, 1}, shape.nodes);
    Kokkos::parallel_scan("seqkv::trie::scan_tiles", range(sizes), gpu::ScanTiles{tiles_.labels, 0},
                          shape.label_tokens);
    Kokkos::parallel_reduce("seqkv::trie::sum_paths", range(tiles_.distinct), gpu::SumPaths<Words>{tiles_},
                            shape.sum_counts);
    ++shape.nodes;  // the root
    return shape;
  }

  void write(const DeviceImage<ExecutionSpace>& image) {
    const auto nodes = static_cast<std::int64_t>(image.shape.nodes);
    const auto begin = array<std::uint32_t>("seqkv::trie::begin", nodes);
    const auto end = array<std::uint32_t>("seqkv::trie::end", nodes);
    tiles_.begin = begin.data();
    tiles_.end = end.data();
    tiles_.out = mutable_view_of(image.shape, image.memory.data());
    using Write = gpu::WriteTiles<ExecutionSpace, Words>;
    Kokkos::parallel_for("seqkv::trie::write_tiles",
                         teams().set_scratch_size(0, Kokkos::PerTeam(Write::scratch_bytes())), Write{tiles_});
    Kokkos::parallel_scan("seqkv::trie::sum_nodes", range(nodes), gpu::SumNodes<Words>{tiles_});
    Kokkos::parallel_for("seqkv::trie::write_root", range(1),
                         gpu::WriteRoot{tiles_.out, image.shape.nodes, image.shape.label_tokens});
    space_.fence("seqkv::trie::write: the trie is complete");
  }
  Teams teams() const { return Teams(space_, static_cast<int>(tiles_.tiles), tile_threads); }

  ExecutionSpace space_;
  TokenBatch<MemorySpace> sequences_;
  Token largest_;
  gpu::WindowTiles<Words> tiles_;
  Array<Key> keys_;
  Array<std::uint32_t> first_, depths_;
  Array<std::uint8_t> common_, length_;
  Array<std::uint64_t> nodes_, labels_;
};

}  // namespace seqkv::trie
