// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Heads, biases, per-head norms and rotary embedding, 16 pairs at a time.
#pragma once

#include "backends/cpu/norm.hpp"
#include "backends/cpu/simd.hpp"
#include "model/kernels.hpp"

namespace seqkv::cpu::SEQKV_ISA {

/// 16 pairs of components turned by angles.
SEQKV_INLINE void turn(f32x16& a, f32x16& b, f32x16 cosine, f32x16 sine) {
  const f32x16 first = fma(a, cosine, -(b * sine));
  b = fma(b, cosine, a * sine);
  a = first;
}

/// Turns `head` in place by the angles of one position and scales it.
SEQKV_INLINE void rotate_head(float* head, std::int64_t dim, const float* cosine, const float* sine, float scale) {
  float* upper = head + dim / 2;
  for_each_vector(dim / 2, [&](std::int64_t i, auto load_, auto store_) {
    f32x16 a = load_(head + i);
    f32x16 b = load_(upper + i);
    turn(a, b, load_(cosine + i), load_(sine + i));
    store_(head + i, a * splat(scale));
    store_(upper + i, b * splat(scale));
  });
}

SEQKV_INLINE void add_bias(const float* in, const float* bias, std::int64_t dim, float* out) {
  for_each_vector(dim, [&](std::int64_t i, auto load_, auto store_) {
    store_(out + i, bias == nullptr ? load_(in + i) : load_(in + i) + load_(bias + i));
  });
}

SEQKV_INLINE void norm_head(float* head, std::int64_t dim, const float* weight, float epsilon) {
  if (weight == nullptr) return;
  const f32x16 scale = splat(inverse_rms(head, dim, epsilon));
  for_each_vector(dim, [&](std::int64_t i, auto load_, auto store_) {
    store_(head + i, load_(head + i) * scale * load_(weight + i));
  });
}

inline void rope_rows(const kernels::Rope& args, std::int64_t first, std::int64_t last) {
  const kernels::HeadShape& heads = args.heads;
  const std::int64_t dim = heads.head_dim;
  for (std::int64_t m = first; m < last; ++m) {
    const kernels::RowInfo row = args.info[m];
    const kernels::CacheTable& cache = args.caches[row.sequence];
    const float* cosine = args.cosine + row.position * (dim / 2);
    const float* sine = args.sine + row.position * (dim / 2);
    const float* in = args.qkv + m * args.ld_qkv;
    const auto bias_of = [&](std::int64_t head) { return args.bias == nullptr ? nullptr : args.bias + head * dim; };
    for (std::int64_t head = 0; head < heads.query_heads; ++head) {
      float* q = args.q + m * args.ldq + head * dim;
      add_bias(in + head * dim, bias_of(head), dim, q);
      norm_head(q, dim, args.q_norm, args.epsilon);
      rotate_head(q, dim, cosine, sine, args.query_scale);
    }
    for (std::int64_t head = 0; head < heads.kv_heads; ++head) {
      alignas(64) float key[512];
      const std::int64_t key_head = heads.query_heads + head;
      add_bias(in + key_head * dim, bias_of(key_head), dim, key);
      norm_head(key, dim, args.k_norm, args.epsilon);
      rotate_head(key, dim, cosine, sine, 1.0F);
      float* tile = kernels::key_tile_at(cache, heads, args.layer, head, row.position / kernels::key_tile) +
                    row.position % kernels::key_tile;
      for (std::int64_t i = 0; i < dim; ++i) tile[i * kernels::key_tile] = key[i];

      const std::int64_t value_head = key_head + heads.kv_heads;
      add_bias(in + value_head * dim, bias_of(value_head), dim,
               kernels::value_row_at(cache, heads, args.layer, head, row.position));
    }
  }
}

}  // namespace seqkv::cpu::SEQKV_ISA
