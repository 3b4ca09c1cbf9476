// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "seqkv/device_trie.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "core/execution_spaces.hpp"
#include "core/guard_memory.hpp"
#include "core/mirrored.hpp"
#include "core/try.hpp"
#include "trie/image.hpp"
#include "trie/window_limits.hpp"
#include "trie/window_tiles.hpp"
#include "trie/windows.hpp"

namespace seqkv {
namespace {

using trie::DeviceImage;
using trie::KeyFormat;

template <class ExecutionSpace>
using Batch = TokenBatch<typename ExecutionSpace::memory_space>;
template <class ExecutionSpace>
using Each = Kokkos::RangePolicy<ExecutionSpace, Kokkos::IndexType<std::int64_t>>;

/// The first sequence whose offsets do not ascend.
struct FindDescent {
  const std::uint64_t* offsets;
  KOKKOS_FUNCTION void operator()(std::int64_t i, std::int64_t& first) const {
    if (offsets[i] >= offsets[i + 1] && i < first) first = i;
  }
};
struct FindLargest {
  const Token* tokens;
  KOKKOS_FUNCTION void operator()(std::int64_t i, Token& largest) const {
    if (tokens[i] > largest) largest = tokens[i];
  }
};
/// The first token above 2^31 - 1.
struct FindTooLarge {
  const Token* tokens;
  KOKKOS_FUNCTION void operator()(std::int64_t i, std::int64_t& first) const {
    if (tokens[i] > INT32_MAX && i < first) first = i;
  }
};

/// One element of an array in the memory of a space.
template <class T, class MemorySpace>
T read(const Kokkos::View<const T*, MemorySpace, Kokkos::MemoryUnmanaged>& array, std::size_t i) {
  T value{};
  Kokkos::deep_copy(value, Kokkos::subview(array, i));
  return value;
}

template <class ExecutionSpace>
Result<void> check_offsets(const ExecutionSpace& space, const Batch<ExecutionSpace>& sequences) {
  if (sequences.offsets.size() < 2) return Error(ErrorCode::empty_input, "no sequence to build a trie of");
  const auto count = static_cast<std::int64_t>(sequences.offsets.size()) - 1;
  SEQKV_TRY(trie::check_windows(static_cast<std::int64_t>(sequences.tokens.size()), count));
  std::int64_t first = count;
  Kokkos::parallel_reduce("seqkv::trie::check_offsets", Each<ExecutionSpace>(space, 0, count),
                          FindDescent{sequences.offsets.data()}, Kokkos::Min<std::int64_t>(first));
  const auto place = [](std::int64_t i) { return fmt::format("sequence {}", i); };
  if (first < count) {
    const std::uint64_t from = read(sequences.offsets, static_cast<std::size_t>(first));
    const std::uint64_t to = read(sequences.offsets, static_cast<std::size_t>(first) + 1);
    if (from == to) return Error(ErrorCode::empty_input, "an empty sequence").at_field(place(first));
    return Error(ErrorCode::invalid_argument, fmt::format("tokens {} to {}", from, to)).at_field(place(first));
  }
  const std::uint64_t begin = read(sequences.offsets, 0);
  const std::uint64_t end = read(sequences.offsets, static_cast<std::size_t>(count));
  if (begin == 0 && end == sequences.tokens.size()) return {};
  return Error(ErrorCode::invalid_argument,
               fmt::format("sequences are tokens {} to {} of {}", begin, end, sequences.tokens.size()));
}

template <class ExecutionSpace>
Result<Token> check_tokens(const ExecutionSpace& space, const Batch<ExecutionSpace>& sequences) {
  const Each<ExecutionSpace> all(space, 0, static_cast<std::int64_t>(sequences.tokens.size()));
  Token largest = 0;
  Kokkos::parallel_reduce("seqkv::trie::find_largest", all, FindLargest{sequences.tokens.data()},
                          Kokkos::Max<Token>(largest));
  if (largest <= INT32_MAX) return largest;
  std::int64_t first = 0;
  Kokkos::parallel_reduce("seqkv::trie::find_too_large", all, FindTooLarge{sequences.tokens.data()},
                          Kokkos::Min<std::int64_t>(first));
  return Error(ErrorCode::token_out_of_range,
               fmt::format("token {} is above 2^31 - 1", read(sequences.tokens, static_cast<std::size_t>(first))))
      .at_field(fmt::format("token {}", first));
}

/// Of checked sequences.
template <class ExecutionSpace>
Result<DeviceImage<ExecutionSpace>> build_image(const ExecutionSpace& space, const Batch<ExecutionSpace>& sequences,
                                                Token largest, int depth) {
  return trie::with_key_format(largest, depth, [&]<int Words>(const KeyFormat& format) {
    return trie::TileBuilder<ExecutionSpace, Words>(space, format, sequences, largest).run();
  });
}

/// The memory itself on host spaces, else a copy.
template <class ExecutionSpace>
Result<Trie> trie_of(const ExecutionSpace& space, const DeviceImage<ExecutionSpace>& from) {
  if constexpr (is_host_space<ExecutionSpace>) {
    const std::span<const std::byte> bytes(from.memory.data(), from.memory.size());
    return Trie(from.shape, bytes, std::make_shared<decltype(from.memory)>(from.memory));
  } else {
    SEQKV_ASSIGN(trie::Image image, trie::Image::allocate(from.shape));
    Kokkos::deep_copy(
        space, Kokkos::View<std::byte*, Kokkos::HostSpace, Kokkos::MemoryUnmanaged>(image.data(), from.memory.size()),
        from.memory);
    space.fence("seqkv::trie::to_host: the trie is read on the host");
    return std::move(image).finish();
  }
}

}  // namespace

template <class ExecutionSpace>
Result<DeviceTrie<ExecutionSpace>> DeviceTrie<ExecutionSpace>::create(const ExecutionSpace& space, const Trie& trie) {
  return guard_memory("for a trie on a device", [&]() -> Result<DeviceTrie> {
    DeviceTrie device;
    device.shape_ = trie.shape();
    if constexpr (is_host_space<ExecutionSpace>) {
      device.host_ = trie;
      device.view_ = trie.view();
    } else {
      const std::size_t bytes = trie.image().size();
      device.memory_ =
          decltype(memory_)(Kokkos::view_alloc(space, Kokkos::WithoutInitializing, "seqkv::trie::image"), bytes);
      Kokkos::deep_copy(
          space, device.memory_,
          Kokkos::View<const std::byte*, Kokkos::HostSpace, Kokkos::MemoryUnmanaged>(trie.image().data(), bytes));
      space.fence("seqkv::trie::create: the image is the caller's");
      device.view_ = trie::view_of(trie.shape(), device.memory_.data());
    }
    return device;
  });
}

template <class ExecutionSpace>
Result<DeviceTrie<ExecutionSpace>> DeviceTrie<ExecutionSpace>::build_windows(const ExecutionSpace& space,
                                                                             const TokenBatch<MemorySpace>& sequences,
                                                                             int depth) {
  return guard_memory("to build a trie of windows", [&]() -> Result<DeviceTrie> {
    SEQKV_TRY(trie::check_depth(depth));
    SEQKV_TRY(check_offsets(space, sequences));
    SEQKV_ASSIGN([[maybe_unused]] const Token largest, check_tokens(space, sequences));
    if constexpr (is_host_space<ExecutionSpace>) {
      std::vector<TokenSpan> spans;
      for (std::size_t i = 0; i + 1 < sequences.offsets.size(); ++i) {
        spans.emplace_back(sequences.tokens.data() + sequences.offsets[i],
                           sequences.offsets[i + 1] - sequences.offsets[i]);
      }
      SEQKV_ASSIGN(const Trie trie, build_window_trie(space, spans, depth));
      return create(space, trie);
    } else {
      SEQKV_ASSIGN(const DeviceImage<ExecutionSpace> image, build_image(space, sequences, largest, depth));
      DeviceTrie device;
      device.shape_ = image.shape;
      device.memory_ = image.memory;
      device.view_ = trie::view_of(image.shape, image.memory.data());
      return device;
    }
  });
}

template <class ExecutionSpace>
Result<Trie> DeviceTrie<ExecutionSpace>::to_host(const ExecutionSpace& space) const {
  if (is_host_space<ExecutionSpace> || memory_.size() == 0) return host_;
  return guard_memory("for a trie on the host", [&] {
    return trie_of(space, DeviceImage<ExecutionSpace>{shape_, memory_});
  });
}

template <class ExecutionSpace>
Result<Trie> trie::build_window_trie_by_tiles(const ExecutionSpace& space, std::span<const TokenSpan> sequences,
                                              int depth) {
  SEQKV_TRY(check_depth(depth));
  SEQKV_ASSIGN(const Extent extent, extent_of(sequences));
  Mirrored<ExecutionSpace, Token> token;
  Mirrored<ExecutionSpace, std::uint64_t> offset;
  token.reserve("seqkv::trie::tokens", extent.windows);
  offset.reserve("seqkv::trie::offsets", std::ssize(sequences) + 1);
  std::uint64_t next = 0;
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    offset[static_cast<std::int64_t>(i)] = next;
    std::ranges::copy(sequences[i], token.host() + next);
    next += sequences[i].size();
  }
  offset[std::ssize(sequences)] = next;
  token.to_device(space, extent.windows);
  offset.to_device(space, std::ssize(sequences) + 1);
  Batch<ExecutionSpace> batch;
  batch.tokens = decltype(batch.tokens)(token.device(), static_cast<std::size_t>(extent.windows));
  batch.offsets = decltype(batch.offsets)(offset.device(), sequences.size() + 1);
  SEQKV_ASSIGN(const DeviceImage<ExecutionSpace> image, build_image(space, batch, extent.largest, depth));
  return trie_of(space, image);
}

#define SEQKV_INSTANTIATE(Space)    \
  template class DeviceTrie<Space>; \
  template Result<Trie> trie::build_window_trie_by_tiles<Space>(const Space&, std::span<const TokenSpan>, int);
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)
#undef SEQKV_INSTANTIATE

}  // namespace seqkv
