// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// What every kernel of a codec works on: one (layer, kind) of one block, its values contiguous.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/float16.hpp"
#include "seqkv/dtype.hpp"

namespace seqkv::codec {

/// Values [heads][tokens][dim] of `dtype`.
struct Subblock {
  std::int64_t heads = 0;
  std::int64_t tokens = 0;
  std::int64_t dim = 0;
  DType dtype = DType::bf16;
  bool is_key = false;
  std::int64_t batch_token = 0;  ///< of its first token, counted over the blocks that are coded together

  SEQKV_INLINE std::int64_t vectors() const { return heads * tokens; }
  SEQKV_INLINE std::int64_t values() const { return heads * tokens * dim; }
};

/// A kernel returns this instead of a size when it cannot code a sub-block, which is then stored raw.
inline constexpr std::int64_t not_codable = -1;

/// One sub-block's work; pointers are to memory of the execution space.
struct Task {
  Subblock subblock;
  std::uint64_t number = 0;     ///< 2 * layer + kind
  std::byte* values = nullptr;  ///< encode reads them, decode writes them
  std::byte* coded = nullptr;   ///< encode writes up to kernel.size(), decode reads `bytes`
  std::int64_t bytes = 0;       ///< of `coded`; encode sets it, or not_codable
  bool raw = false;             ///< decode: `coded` holds the values
};

}  // namespace seqkv::codec
