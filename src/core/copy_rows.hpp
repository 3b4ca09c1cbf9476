// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Copying one head of one tensor between memories of any strides and dtypes.
#pragma once

#include <cstdint>
#include <cstring>

#include "core/float16.hpp"
#include "seqkv/kv.hpp"

namespace seqkv {

/// [tokens][dim] somewhere in memory.
template <class Byte>
struct Rows {
  Byte* data = nullptr;  ///< at token 0, component 0
  KvStrides stride;
  DType dtype = DType::bf16;
};

/// Rounds to nearest even where `to` is narrower.
inline void copy_rows(const Rows<const std::byte>& from, const Rows<std::byte>& to, std::int64_t tokens,
                      std::int64_t dim) {
  const auto element = static_cast<std::int64_t>(size_of(from.dtype));
  const bool whole_rows = from.dtype == to.dtype && from.stride.component == 1 && to.stride.component == 1;
  if (whole_rows && from.stride.token == dim && to.stride.token == dim) {  // the rows follow one another
    std::memcpy(to.data, from.data, static_cast<std::size_t>(tokens * dim * element));
    return;
  }
  for (std::int64_t token = 0; token < tokens; ++token) {
    const std::int64_t a = token * from.stride.token;
    const std::int64_t b = token * to.stride.token;
    if (whole_rows) {
      std::memcpy(to.data + b * element, from.data + a * element, static_cast<std::size_t>(dim * element));
      continue;
    }
    for (std::int64_t c = 0; c < dim; ++c) {
      copy_element(from.data, from.dtype, a + c * from.stride.component, to.data, to.dtype,
                   b + c * to.stride.component);
    }
  }
}

/// One head of a tensor of a view.
template <class Byte>
Rows<Byte> rows_of(const BasicKvView<Byte>& view, std::int64_t tensor, std::int64_t head) {
  const KvStrides& stride = view.strides[static_cast<std::size_t>(tensor % 2)];
  const auto element = static_cast<std::int64_t>(size_of(view.shape.dtype));
  return {view.tensors[static_cast<std::size_t>(tensor)] + head * stride.head * element, stride, view.shape.dtype};
}

}  // namespace seqkv
