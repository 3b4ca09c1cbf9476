// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Numbers of a cache as integers in their order (ordered_of), and back.
#pragma once

#include <span>

#include "core/bytes.hpp"
#include "model/rounded_forward.hpp"

namespace seqkv::replay {

inline std::int32_t load_ordered(const std::byte* tensor, DType dtype, std::int64_t i) {
  if (dtype == DType::f32) return ordered_of(load_le<std::uint32_t>(tensor + 4 * i), dtype);
  return ordered_of(std::uint32_t{load_le<std::uint16_t>(tensor + 2 * i)}, dtype);
}
inline void store_ordered(std::byte* tensor, DType dtype, std::int64_t i, std::int32_t ordered) {
  if (dtype == DType::f32) return store_le(tensor + 4 * i, bits_of(ordered, dtype));
  store_le(tensor + 2 * i, static_cast<std::uint16_t>(bits_of(ordered, dtype)));
}

/// A layer's numbers [K|V][kv_heads][tokens][head_dim] go to a cache in contiguous memory.
inline void store_layer(std::span<const std::int32_t> numbers, std::int64_t layer, const KvView& to) {
  const std::size_t half = numbers.size() / 2;
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    std::byte* tensor = to.tensors[static_cast<std::size_t>(2 * layer) + i / half];
    store_ordered(tensor, to.shape.dtype, static_cast<std::int64_t>(i % half), numbers[i]);
  }
}

/// Calls visit(place in [kv_heads][tokens][head_dim], element) for a tensor of a view.
template <class Byte, class Visit>
void for_each_element(const BasicKvView<Byte>& view, int kind, const Visit& visit) {
  const KvStrides& stride = view.strides[static_cast<std::size_t>(kind)];
  std::size_t place = 0;
  for (std::int64_t head = 0; head < view.shape.kv_heads; ++head) {
    for (std::int64_t token = 0; token < view.tokens; ++token) {
      const std::int64_t at = head * stride.head + token * stride.token;
      for (std::int64_t i = 0; i < view.shape.head_dim; ++i) visit(place++, at + i * stride.component);
    }
  }
}

/// How many numbers of the first `tensors` tensors of two caches of one shape differ.
inline std::int64_t differences(const ConstKvView& a, const ConstKvView& b, std::size_t tensors) {
  std::int64_t count = 0;
  std::vector<std::int32_t> numbers;
  for (std::size_t i = 0; i < tensors; ++i) {
    numbers.clear();
    const int kind = static_cast<int>(i % 2);
    for_each_element(a, kind, [&](std::size_t, std::int64_t element) {
      numbers.push_back(load_ordered(a.tensors[i], a.shape.dtype, element));
    });
    for_each_element(b, kind, [&](std::size_t place, std::int64_t element) {
      count += load_ordered(b.tensors[i], b.shape.dtype, element) != numbers[place] ? 1 : 0;
    });
  }
  return count;
}

}  // namespace seqkv::replay
