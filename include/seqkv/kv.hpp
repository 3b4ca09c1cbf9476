// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The types that cross every part: tokens, the shape of a KV cache, views of one and a host-side owner.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "seqkv/dtype.hpp"
#include "seqkv/result.hpp"

namespace seqkv {

using Token = std::uint32_t;
using TokenSpan = std::span<const Token>;

/// How rotary position embedding stretches its frequencies. The numbers are part of the frame format.
enum class RopeScaling : std::uint8_t {
  none = 0,    ///< Su et al., arXiv 2104.09864
  linear = 1,  ///< positions divided by `factor`
  llama3 = 2,  ///< Llama 3.1: low frequencies divided by `factor`, a smooth step between
};

/// Rotary position embedding: pairs (i, i + dim/2) of a key turn by position * inv_frequency(i).
struct RopeConfig {
  double theta = 10000.0;
  RopeScaling scaling = RopeScaling::none;
  double factor = 1.0;
  double low_freq_factor = 1.0;
  double high_freq_factor = 4.0;
  std::int64_t original_max_positions = 8192;
  std::int64_t dim = 0;  ///< components of a head that turn; 0: no rotation known, keys are left as they are

  friend bool operator==(const RopeConfig&, const RopeConfig&) = default;
};

/// What two caches must have in common to be exchanged.
struct KvShape {
  std::int64_t layers = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  RopeConfig rope;
  DType dtype = DType::bf16;

  friend bool operator==(const KvShape&, const KvShape&) = default;

  /// Numbers (scalars) of K and V together for one token.
  std::int64_t components_per_token() const noexcept { return 2 * layers * kv_heads * head_dim; }
  /// Errors: limit_exceeded, invalid_argument.
  Result<void> check() const;
  std::string describe() const;
};

enum class Kind : std::uint8_t { key = 0, value = 1 };
/// `device`: the memory of the execution space that a call is given.
enum class MemorySpace : std::uint8_t { host, device };

/// Distances between neighbors, in elements.
struct KvStrides {
  std::int64_t head = 0;
  std::int64_t token = 0;
  std::int64_t component = 1;
};

/// A view of caller-owned memory: one tensor [kv_heads][tokens][head_dim] per layer and kind, keys as engines
/// hold them (after RoPE), all tensors of one kind with the same strides. Does not own and does not copy.
template <class Byte>
struct BasicKvView {
  KvShape shape;
  std::int64_t tokens = 0;
  std::vector<Byte*> tensors;  ///< [layers][K|V], each at head 0, token 0, component 0
  std::array<KvStrides, 2> strides;
  MemorySpace memory = MemorySpace::host;

  Byte* tensor(std::int64_t layer, Kind kind) const { return tensors[2 * layer + static_cast<int>(kind)]; }

  /// A view that only reads, of the same memory.
  operator BasicKvView<const std::byte>() const  // NOLINT(google-explicit-constructor): as T* to const T*
      requires(!std::is_const_v<Byte>) {
    return {shape, tokens, {tensors.begin(), tensors.end()}, strides, memory};
  }

  /// Tokens [first, first + count). Precondition: inside the view.
  BasicKvView slice(std::int64_t first, std::int64_t count) const {
    BasicKvView part = *this;
    part.tokens = count;
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      part.tensors[i] += first * strides[i % 2].token * static_cast<std::int64_t>(size_of(shape.dtype));
    }
    return part;
  }
};

using KvView = BasicKvView<std::byte>;
using ConstKvView = BasicKvView<const std::byte>;

/// Copies a cache between views of any strides, converting the dtype (rounding to nearest even). Done on return.
/// Between host views it runs on `space` where that is one of the host, else, and where none is given, on Kokkos'
/// default space of the host. Views in the memory of a device need its space, whose kernels, in their order, read and
/// write them; a tensor at a time goes through memory of its own where the other view is on the host. Errors:
/// shape_mismatch (all but dtype and rope must agree), invalid_argument (device memory and a space of the host),
/// out_of_memory.
template <class ExecutionSpace>
Result<void> copy(const ExecutionSpace& space, const ConstKvView& from, const KvView& to);
Result<void> copy(const ConstKvView& from, const KvView& to);

/// Host memory for a whole cache, one allocation, each tensor contiguous [kv_heads][tokens][head_dim].
/// Zeroed when made.
class KvCache {
 public:
  KvCache() = default;
  /// Errors: those of KvShape::check, invalid_argument (negative tokens), limit_exceeded, out_of_memory.
  static Result<KvCache> create(const KvShape& shape, std::int64_t tokens);

  const KvShape& shape() const noexcept { return view_.shape; }
  std::int64_t tokens() const noexcept { return view_.tokens; }
  std::int64_t components() const noexcept { return shape().components_per_token() * tokens(); }
  std::int64_t bytes() const noexcept { return components() * static_cast<std::int64_t>(size_of(shape().dtype)); }
  const KvView& view() noexcept { return view_; }
  ConstKvView view() const { return view_; }
  /// All bytes: [layers][K|V][kv_heads][tokens][head_dim].
  std::span<const std::byte> raw() const noexcept { return {memory_.get(), static_cast<std::size_t>(bytes())}; }

 private:
  struct Free {
    void operator()(std::byte* memory) const noexcept { std::free(memory); }
  };
  std::unique_ptr<std::byte, Free> memory_;
  KvView view_;
};

}  // namespace seqkv
