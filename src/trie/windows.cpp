// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <fmt/format.h>

#include <Kokkos_Core.hpp>
#include <algorithm>
#include <cstring>
#include <utility>

#include "backends/cpu/radix_sort.hpp"
#include "backends/kokkos/radix_sort.hpp"
#include "backends/kokkos/window_trie.hpp"
#include "core/execution_spaces.hpp"
#include "core/guard_memory.hpp"
#include "core/host_memory.hpp"
#include "core/mirrored.hpp"
#include "core/try.hpp"
#include "seqkv/trie.hpp"
#include "trie/image.hpp"
#include "trie/window_key.hpp"
#include "trie/window_limits.hpp"
#include "trie/windows.hpp"

namespace seqkv {
namespace {

using trie::Extent;
using trie::Image;
using trie::KeyFormat;
using trie::WindowKey;

/// An uninitialized array in the memory of an execution space.
template <class ExecutionSpace, class T>
class Array {
 public:
  Array() = default;
  explicit Array(std::int64_t count) {
    const auto size = static_cast<std::size_t>(count);
    if constexpr (is_host_space<ExecutionSpace>) {
      memory_ = HostArray<T>(size);
    } else {
      memory_ = Memory(Kokkos::view_alloc(Kokkos::WithoutInitializing, "seqkv::trie::array"), size);
    }
  }
  T* data() const { return memory_.data(); }

 private:
  using Memory = std::conditional_t<is_host_space<ExecutionSpace>, HostArray<T>,
                                    Kokkos::View<T*, typename ExecutionSpace::memory_space>>;
  Memory memory_;
};

/// Builds one trie; Words is what a key takes.
template <class ExecutionSpace, int Words>
class WindowBuilder {
 public:
  using Key = WindowKey<Words>;

  WindowBuilder(const ExecutionSpace& space, const KeyFormat& format, const Extent& extent, bool portable)
      : space_(space), format_(format), extent_(extent), portable_(portable) {}

  Result<Trie> run(std::span<const TokenSpan> sequences) {
    sort(sequences);
    find_windows();
    const TrieShape shape = count_nodes();
    SEQKV_TRY(trie::check_size(shape));
    SEQKV_ASSIGN(Image image, Image::allocate(shape));
    write(shape, image);
    return std::move(image).finish();
  }

 private:
  template <class T>
  using SpaceArray = Array<ExecutionSpace, T>;
  using Range = Kokkos::RangePolicy<ExecutionSpace, Kokkos::IndexType<std::int64_t>>;

  /// Sequences one after another as symbols, each with an end.
  void sort(std::span<const TokenSpan> sequences) {
    const std::int64_t count = extent_.windows + std::ssize(sequences);
    Mirrored<ExecutionSpace, std::uint32_t> symbols;
    symbols.reserve("seqkv::trie::symbols", count);
    std::uint32_t* next = symbols.host();
    for (const TokenSpan tokens : sequences) {
      for (const Token token : tokens) *next++ = token + 1;
      *next++ = 0;
    }
    if constexpr (is_host_space<ExecutionSpace>) {
      if (!portable_) {
        keys_ = SpaceArray<Key>(extent_.windows);
        cpu::WindowSort<ExecutionSpace, Words>(space_, format_, symbols.host(), count).run(keys_.data());
        sorted_ = keys_.data();
        return;
      }
    }
    symbols.to_device(space_, count);
    keys_ = SpaceArray<Key>(count);
    SpaceArray<Key> scratch(count);
    const std::int64_t pieces = pieces_of(count);
    Kokkos::parallel_for("seqkv::trie::pack_windows", Range(space_, 0, pieces),
                         kokkos::PackWindows<Words>{format_, symbols.device(), count, pieces, keys_.data()});
    sorted_ = kokkos::sort_keys(space_, format_, keys_.data(), scratch.data(), count);
    if (sorted_ != keys_.data()) std::swap(keys_, scratch);
    sorted_ += sequences.size();  // the ends of sequences are the smallest keys
    space_.fence("seqkv::trie::sort: the symbols are local");
  }

  /// Of `count` keys: enough for all threads, not so many that what is kept of each matters.
  std::int64_t pieces_of(std::int64_t count) const {
    constexpr std::int64_t most = 1 << 16;
    return std::clamp<std::int64_t>(count / 64, 1, std::min(most, 64 * std::int64_t{space_.concurrency()}));
  }

  void find_windows() {
    trie_.format = format_;
    trie_.keys = sorted_;
    trie_.windows = extent_.windows;
    trie_.pieces = pieces_of(extent_.windows);
    heads_.reserve("seqkv::trie::heads", trie_.pieces);
    trie_.heads = heads_.device();
    over_pieces("seqkv::trie::count_heads", kokkos::CountHeads<Words>{trie_});
    heads_.to_host(space_, trie_.pieces);
    space_.fence("seqkv::trie::count_heads: scanned on the host");
    std::uint32_t distinct = 0;
    for (std::int64_t p = 0; p < trie_.pieces; ++p) distinct += std::exchange(heads_[p], distinct);
    heads_.to_device(space_, trie_.pieces);
    trie_.distinct = distinct;
    first_ = SpaceArray<std::uint32_t>(trie_.distinct + 1);
    common_ = SpaceArray<std::uint8_t>(trie_.distinct + 1);
    trie_.first = first_.data();
    trie_.common = common_.data();
    over_pieces("seqkv::trie::write_heads", kokkos::WriteHeads<Words>{trie_});
    Kokkos::parallel_for("seqkv::trie::end_heads", Range(space_, 0, 1), kokkos::EndHeads<Words>{trie_});
  }

  TrieShape count_nodes() {
    depths_ = SpaceArray<std::uint32_t>(trie_.distinct);
    left_ = SpaceArray<kokkos::DepthUpdate>(trie_.pieces);
    right_ = SpaceArray<kokkos::DepthUpdate>(trie_.pieces);
    levels_.reserve("seqkv::trie::levels", trie_.pieces);
    sum_counts_.reserve("seqkv::trie::sum_counts", trie_.pieces);
    trie_.depths = depths_.data();
    trie_.left = left_.data();
    trie_.right = right_.data();
    trie_.levels = levels_.device();
    trie_.sum_counts = sum_counts_.device();
    over_pieces("seqkv::trie::summarize_parting", kokkos::SummarizeParting<Words>{trie_});
    Kokkos::parallel_for("seqkv::trie::scan_parting", Range(space_, 0, 1),
                         kokkos::ScanParting{trie_.left, trie_.right, trie_.pieces});
    over_pieces("seqkv::trie::count_levels", kokkos::CountLevels<Words>{trie_});
    levels_.to_host(space_, trie_.pieces);
    sum_counts_.to_host(space_, trie_.pieces);
    space_.fence("seqkv::trie::count_levels: scanned on the host");

    TrieShape shape;
    shape.kind = TrieKind::windows;
    shape.depth_limit = static_cast<std::uint32_t>(format_.depth);
    shape.largest_token = extent_.largest;
    shape.total = static_cast<std::uint64_t>(extent_.windows);
    for (int level = 1; level < kokkos::most_levels; ++level) {
      std::uint32_t begin = 0;
      for (std::int64_t p = 0; p < trie_.pieces; ++p) {
        kokkos::LevelCounts& counts = levels_[p];
        const bool any = counts.nodes[level] > 0;
        shape.nodes += std::exchange(counts.nodes[level], shape.nodes);
        shape.label_tokens += std::exchange(counts.label_tokens[level], shape.label_tokens);
        const std::uint32_t own = std::exchange(counts.begin[level], begin);
        if (any) begin = own;
      }
    }
    for (std::int64_t p = 0; p < trie_.pieces; ++p) shape.sum_counts += sum_counts_[p];
    levels_.to_device(space_, trie_.pieces);
    return shape;
  }

  void write(const TrieShape& shape, const Image& image) {
    const auto bytes = static_cast<std::int64_t>(trie::Layout(shape).bytes);
    SpaceArray<std::byte> body;  // devices write into memory of their own
    std::byte* arrays = image.data();
    if constexpr (!is_host_space<ExecutionSpace>) {
      body = SpaceArray<std::byte>(bytes);
      arrays = body.data();
      copy(image.data(), arrays, bytes, true);
    }
    trie_.out = trie::mutable_view_of(shape, arrays);
    Kokkos::parallel_for("seqkv::trie::write_root", Range(space_, 0, 1),
                         kokkos::WriteRoot<Words>{trie_, shape.nodes, shape.label_tokens});
    over_pieces("seqkv::trie::write_nodes", kokkos::WriteNodes<Words>{trie_});
    Kokkos::parallel_scan("seqkv::trie::sum_counts", Range(space_, 0, static_cast<std::int64_t>(shape.nodes)),
                          kokkos::SumCounts{trie_.out.below});
    if constexpr (!is_host_space<ExecutionSpace>) copy(image.data(), arrays, bytes, false);
    space_.fence("seqkv::trie::write: the trie is complete");
  }

  void copy(std::byte* host, std::byte* device, std::int64_t bytes, bool to_device) {
    const auto size = static_cast<std::size_t>(bytes);
    const Kokkos::View<std::byte*, Kokkos::HostSpace, Kokkos::MemoryUnmanaged> a(host, size);
    const Kokkos::View<std::byte*, typename ExecutionSpace::memory_space, Kokkos::MemoryUnmanaged> b(device, size);
    if (to_device) {
      Kokkos::deep_copy(space_, b, a);
    } else {
      Kokkos::deep_copy(space_, a, b);
    }
  }

  template <class Kernel>
  void over_pieces(const char* label, const Kernel& kernel) {
    Kokkos::parallel_for(label, Range(space_, 0, trie_.pieces), kernel);
  }

  ExecutionSpace space_;
  KeyFormat format_;
  Extent extent_;
  bool portable_;
  kokkos::WindowTrie<Words> trie_;
  SpaceArray<Key> keys_;
  const Key* sorted_ = nullptr;
  SpaceArray<std::uint32_t> first_, depths_;
  SpaceArray<std::uint8_t> common_;
  SpaceArray<kokkos::DepthUpdate> left_, right_;
  Mirrored<ExecutionSpace, std::uint32_t> heads_;
  Mirrored<ExecutionSpace, kokkos::LevelCounts> levels_;
  Mirrored<ExecutionSpace, std::uint64_t> sum_counts_;
};

template <class ExecutionSpace>
Result<Trie> build(const ExecutionSpace& space, std::span<const TokenSpan> sequences, int depth, bool portable) {
  SEQKV_TRY(trie::check_depth(depth));
  SEQKV_ASSIGN(const Extent extent, trie::extent_of(sequences));
  return trie::with_key_format(extent.largest, depth, [&]<int Words>(const KeyFormat& format) {
    return WindowBuilder<ExecutionSpace, Words>(space, format, extent, portable).run(sequences);
  });
}

}  // namespace

namespace trie {

template <class ExecutionSpace>
Result<Trie> build_window_trie_portable(const ExecutionSpace& space, std::span<const TokenSpan> sequences, int depth) {
  return guard_memory("to build a trie of windows", [&] { return build(space, sequences, depth, true); });
}

}  // namespace trie

template <class ExecutionSpace>
Result<Trie> build_window_trie(const ExecutionSpace& space, std::span<const TokenSpan> sequences, int depth) {
  return guard_memory("to build a trie of windows", [&] {
    if constexpr (is_host_space<ExecutionSpace>) return build(space, sequences, depth, false);
    return trie::build_window_trie_by_tiles(space, sequences, depth);
  });
}

#define SEQKV_INSTANTIATE(Space)                                                                 \
  template Result<Trie> build_window_trie<Space>(const Space&, std::span<const TokenSpan>, int); \
  template Result<Trie> trie::build_window_trie_portable<Space>(const Space&, std::span<const TokenSpan>, int);
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)
#undef SEQKV_INSTANTIATE

}  // namespace seqkv
