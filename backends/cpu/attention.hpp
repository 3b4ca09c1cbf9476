// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Attention for a block of query rows that share a KV head: scores and weighted sums are small matrix products.
#pragma once

#include <cfloat>

#include "backends/cpu/gemm.hpp"
#include "backends/cpu/kernels.hpp"
#include "backends/cpu/simd.hpp"
#include "model/kernels.hpp"

namespace seqkv::cpu::SEQKV_ISA {

inline constexpr std::int64_t most_head_dim = 512;  // limits::max_head_dim

/// One query of a block: what it sees, and its running softmax.
struct QueryState {
  std::int64_t begin, end;  ///< visible keys
  float maximum, denominator;
  std::int64_t low, high;  ///< visible keys of the current tile, relative to it
};

/// Scores of one tile to weights, in place; updates the running maximum and denominator, scales what is summed
/// up so far.
SEQKV_INLINE void softmax_tile(QueryState& query, float* scores, float* out, std::int64_t padded_dim) {
  constexpr int vectors = kernels::key_tile / lanes;
  for (std::int64_t j = 0; j < query.low; ++j) scores[j] = -FLT_MAX;
  for (std::int64_t j = query.high; j < kernels::key_tile; ++j) scores[j] = -FLT_MAX;
  f32x16 largest = splat(-FLT_MAX);
  for (int v = 0; v < vectors; ++v) largest = greater(load(scores + v * lanes), largest);
  const float tile_maximum = fold_greatest(largest);
  const float raised = tile_maximum > query.maximum ? tile_maximum : query.maximum;
  const float shrink = detmath::exp2(query.maximum - raised);
  query.maximum = raised;
  f32x16 sum = splat(0.0F);
  for (int v = 0; v < vectors; ++v) {
    const f32x16 weight = detmath::exp2(load(scores + v * lanes) - splat(raised));
    store(scores + v * lanes, weight);
    sum = sum + weight;
  }
  query.denominator = detmath::fma(query.denominator, shrink, fold_sum(sum));
  if (shrink == 1.0F) return;
  for (std::int64_t i = 0; i < padded_dim; i += lanes) store(out + i, load(out + i) * splat(shrink));
}

/// The part of tile `tile` that a query sees; false if none.
SEQKV_INLINE bool clip(QueryState& query, std::int64_t tile) {
  const std::int64_t start = tile * kernels::key_tile;
  query.low = query.begin > start ? query.begin - start : 0;
  query.high = query.end - start < kernels::key_tile ? query.end - start : kernels::key_tile;
  if (query.high > query.low) return true;
  query.low = query.high = 0;
  return false;
}

inline void attention_block(const kernels::Attention& args, const AttentionBlock& block) {
  using kernels::key_tile;
  const std::int64_t dim = args.heads.head_dim;
  const std::int64_t padded = kernels::padded_value_width(dim);
  const std::int64_t group = args.heads.query_heads / args.heads.kv_heads;
  const std::int64_t heads = block.last_head - block.first_head;
  const std::int64_t rows = (block.last_row - block.first_row) * heads;
  const std::int64_t kv_head = block.first_head / group;
  const kernels::CacheTable& cache = args.caches[args.info[block.first_row].sequence];

  alignas(64) float q[attention_block_rows * most_head_dim];
  alignas(64) float out[attention_block_rows * most_head_dim];
  alignas(64) float scores[attention_block_rows * key_tile];
  QueryState queries[attention_block_rows];
  std::int64_t first_tile = INT64_MAX;
  std::int64_t end = 0;
  for (std::int64_t r = 0; r < rows; ++r) {
    const std::int64_t m = block.first_row + r / heads;
    const float* source = args.q + m * args.ldq + (block.first_head + r % heads) * dim;
    for (std::int64_t i = 0; i < dim; ++i) q[r * dim + i] = source[i];
    for (std::int64_t i = 0; i < padded; ++i) out[r * padded + i] = 0;
    const std::int64_t position = args.info[m].position;
    queries[r] = {kernels::first_visible(position, args.window), position + 1, -FLT_MAX, 0.0F, 0, 0};
    first_tile = queries[r].begin / key_tile < first_tile ? queries[r].begin / key_tile : first_tile;
    end = queries[r].end > end ? queries[r].end : end;
  }

  for (std::int64_t tile = first_tile; tile * key_tile < end; ++tile) {
    const float* keys = kernels::key_tile_at(cache, args.heads, args.layer, kv_head, tile);
    multiply(rows, key_tile, dim, q, dim, keys, key_tile, scores, key_tile, false);
    for (std::int64_t r = 0; r < rows; ++r) {
      if (clip(queries[r], tile)) softmax_tile(queries[r], scores + r * key_tile, out + r * padded, padded);
    }
    // Rows that see the same keys go together. Invisible keys take no part: not even as a product with zero.
    for (std::int64_t r = 0; r < rows;) {
      const QueryState& query = queries[r];
      std::int64_t next = r + 1;
      while (next < rows && queries[next].low == query.low && queries[next].high == query.high) ++next;
      const float* values = kernels::value_row_at(cache, args.heads, args.layer, kv_head, tile * key_tile + query.low);
      multiply(next - r, padded, query.high - query.low, scores + r * key_tile + query.low, key_tile, values, padded,
               out + r * padded, padded, true);
      r = next;
    }
  }

  for (std::int64_t r = 0; r < rows; ++r) {
    float* target = args.out + (block.first_row + r / heads) * args.ldo + (block.first_head + r % heads) * dim;
    const float scale = 1.0F / queries[r].denominator;
    for (std::int64_t i = 0; i < dim; ++i) target[i] = out[r * padded + i] * scale;
  }
}

}  // namespace seqkv::cpu::SEQKV_ISA
