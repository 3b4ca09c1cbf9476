// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Heads, biases, per-head norms and rotary embedding, portable: one thread a head of a row.
#pragma once

#include <Kokkos_Core.hpp>

#include "backends/kokkos/row_sum.hpp"

namespace seqkv::kokkos {

/// One pair of components turned by an angle.
KOKKOS_INLINE_FUNCTION void rotate(float& a, float& b, float cosine, float sine) {
  const float first = detmath::fma(a, cosine, -(b * sine));
  b = detmath::fma(b, cosine, a * sine);
  a = first;
}

/// One head of one row.
struct RopeHead {
  kernels::Rope args;
  std::int64_t all_heads;
  KOKKOS_FUNCTION void operator()(const std::int64_t at) const {
    const std::int64_t m = at / all_heads;
    const std::int64_t head = at % all_heads;
    const std::int64_t dim = args.heads.head_dim;
    const bool is_query = head < args.heads.query_heads;
    const bool is_value = head >= args.heads.query_heads + args.heads.kv_heads;
    const float* in = args.qkv + m * args.ld_qkv + head * dim;
    const float* bias = args.bias == nullptr ? nullptr : args.bias + head * dim;
    const auto x = [=](std::int64_t i) { return bias == nullptr ? in[i] : in[i] + bias[i]; };
    const kernels::RowInfo row = args.info[m];
    const kernels::CacheTable& cache = args.caches[row.sequence];
    if (is_value) {
      const std::int64_t kv_head = head - args.heads.query_heads - args.heads.kv_heads;
      float* out = kernels::value_row_at(cache, args.heads, args.layer, kv_head, row.position);
      for (std::int64_t i = 0; i < dim; ++i) out[i] = x(i);
      return;
    }
    const float* weight = is_query ? args.q_norm : args.k_norm;
    const float scale = weight == nullptr ? 1.0F : inverse_rms(dim, args.epsilon, x);
    const auto y = [=](std::int64_t i) { return weight == nullptr ? x(i) : x(i) * scale * weight[i]; };
    float* out = args.q + m * args.ldq + head * dim;
    std::int64_t step = 1;
    if (!is_query) {
      const std::int64_t kv_head = head - args.heads.query_heads;
      out = kernels::key_tile_at(cache, args.heads, args.layer, kv_head, row.position / kernels::key_tile) +
            row.position % kernels::key_tile;
      step = kernels::key_tile;
    }
    const float* cosine = args.cosine + row.position * (dim / 2);
    const float* sine = args.sine + row.position * (dim / 2);
    for (std::int64_t i = 0; i < dim / 2; ++i) {
      float a = y(i);
      float b = y(i + dim / 2);
      rotate(a, b, cosine[i], sine[i]);
      out[i * step] = is_query ? a * args.query_scale : a;
      out[(i + dim / 2) * step] = is_query ? b * args.query_scale : b;
    }
  }
};

template <class ExecutionSpace>
void rope(const ExecutionSpace& space, const kernels::Rope& args) {
  using Policy = Kokkos::RangePolicy<ExecutionSpace, Kokkos::IndexType<std::int64_t>>;
  const std::int64_t all_heads = args.heads.query_heads + 2 * args.heads.kv_heads;
  Kokkos::parallel_for("seqkv::model::rope", Policy(space, 0, args.rows * all_heads), RopeHead{args, all_heads});
}

}  // namespace seqkv::kokkos
