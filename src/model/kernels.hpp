// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// What the kernels of the forward pass compute, as plain arguments: the one contract that the portable kernels
/// (backends/kokkos) and their specializations (backends/cpu) share. No Kokkos here: specializations are compiled
/// for instruction sets that the rest of the program must not use.
///
/// Pointers are to memory of the execution space. "ld" is the distance of rows in elements. Every result is
/// defined to the bit:
///   - a matrix product is, for each output, one chain of fused multiply-adds in the order of the inner index;
///   - a sum over a row is 16 chains (chain j takes elements j, j + 16, ...), then folded: 16 to 8 to 4 to 2 to 1,
///     element j with element j + half;
///   - softmax runs over tiles of 64 keys at absolute positions (Dao et al., arXiv 2205.14135), so that it
///     depends neither on the chunk nor on the batch.
#pragma once

#include <cstdint>

#include "core/gemm.hpp"
#include "seqkv/inline.hpp"

namespace seqkv::kernels {

inline constexpr std::int64_t key_tile = 64;       ///< keys of one softmax tile
inline constexpr std::int64_t sum_lanes = 16;      ///< chains of a row sum
inline constexpr std::int64_t value_padding = 16;  ///< a value row is padded to a multiple of this

/// x += delta + bias; y = x / sqrt(mean(x^2) + epsilon) * weight  (RMSNorm, Zhang & Sennrich, arXiv 1910.07467).
struct Norm {
  std::int64_t rows = 0;
  std::int64_t width = 0;
  float* x = nullptr;
  std::int64_t ldx = 0;
  const float* delta = nullptr;  ///< may be null
  std::int64_t ldd = 0;
  const float* bias = nullptr;  ///< may be null; only with delta
  const float* weight = nullptr;
  float epsilon = 0;
  float* y = nullptr;
  std::int64_t ldy = 0;
};

/// act[m][i] = silu(gate[m][i] + bias) * (up[m][i] + bias), gate and up side by side in one row.
struct GatedActivation {
  std::int64_t rows = 0;
  std::int64_t width = 0;  ///< of gate, of up and of act
  const float* gate_up = nullptr;
  std::int64_t ldg = 0;
  const float* bias = nullptr;  ///< [2 * width], may be null
  float* act = nullptr;
  std::int64_t lda = 0;
};

/// Where the cache of one sequence lies.
/// keys: [layers][kv_heads][capacity / 64][head_dim][64], transposed tiles.
/// values: [layers][kv_heads][capacity][round_up(head_dim, 16)].
struct CacheTable {
  float* keys = nullptr;
  float* values = nullptr;
  std::int64_t capacity = 0;  ///< tokens, a multiple of 64
};

/// Which token a row of the chunk is.
struct RowInfo {
  std::int64_t position = 0;
  std::int64_t sequence = 0;  ///< index into the table of caches
};

struct HeadShape {
  std::int64_t query_heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;

  /// Queries, keys and values.
  SEQKV_INLINE std::int64_t all_heads() const { return query_heads + 2 * kv_heads; }
  friend bool operator==(const HeadShape&, const HeadShape&) = default;
};

/// Splits a row of the QKV product into heads, adds biases, normalizes queries and keys per head where the model
/// does, turns them by RoPE and scales queries; keys and values go into the cache, queries to `q`.
struct Rope {
  std::int64_t rows = 0;
  std::int64_t layer = 0;
  HeadShape heads;
  const RowInfo* info = nullptr;
  const CacheTable* caches = nullptr;
  const float* qkv = nullptr;  ///< [rows][(query_heads + 2 kv_heads) * head_dim]
  std::int64_t ld_qkv = 0;
  const float* bias = nullptr;    ///< may be null
  const float* q_norm = nullptr;  ///< [head_dim], may be null
  const float* k_norm = nullptr;
  float epsilon = 0;
  const float* cosine = nullptr;  ///< [positions][head_dim / 2]
  const float* sine = nullptr;
  float query_scale = 1;  ///< log2(e) / sqrt(head_dim): scores come out ready for exp2
  float* q = nullptr;
  std::int64_t ldq = 0;
};

/// out[m][h] = softmax over the visible keys of (q . k) times v, for causal attention with an optional window.
struct Attention {
  std::int64_t rows = 0;
  std::int64_t layer = 0;
  std::int64_t window = 0;  ///< 0: all earlier tokens
  HeadShape heads;
  const RowInfo* info = nullptr;
  const CacheTable* caches = nullptr;
  const float* q = nullptr;
  std::int64_t ldq = 0;
  float* out = nullptr;
  std::int64_t ldo = 0;
  std::int64_t sequences = 1;  ///< that the rows belong to, at most; rows of one lie together, in its order
};

SEQKV_INLINE std::int64_t padded_value_width(std::int64_t head_dim) {
  return (head_dim + value_padding - 1) / value_padding * value_padding;
}

/// The tile [head_dim][64] with the keys of tokens 64 * tile ... 64 * tile + 63.
SEQKV_INLINE float* key_tile_at(const CacheTable& cache, const HeadShape& heads, std::int64_t layer, std::int64_t head,
                                std::int64_t tile) {
  return cache.keys + ((layer * heads.kv_heads + head) * cache.capacity + tile * key_tile) * heads.head_dim;
}

/// The value row of one token.
SEQKV_INLINE float* value_row_at(const CacheTable& cache, const HeadShape& heads, std::int64_t layer, std::int64_t head,
                                 std::int64_t token) {
  return cache.values + ((layer * heads.kv_heads + head) * cache.capacity + token) * padded_value_width(heads.head_dim);
}

/// First key that a query at `position` sees.
SEQKV_INLINE std::int64_t first_visible(std::int64_t position, std::int64_t window) {
  return window > 0 && position >= window ? position - window + 1 : 0;
}

}  // namespace seqkv::kernels
