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
  const kernels::Rope& args;
  std::int64_t row, head;
  const float* in;
  const float* bias;
  const float* weight;  ///< of the norm, null: none

  /// Number `at` of all heads of all rows.
  KOKKOS_INLINE_FUNCTION RopeHead(const kernels::Rope& of, std::int64_t at) : args(of) {
    row = at / args.heads.all_heads();
    head = at % args.heads.all_heads();
    in = args.qkv + row * args.ld_qkv + head * args.heads.head_dim;
    bias = args.bias == nullptr ? nullptr : args.bias + head * args.heads.head_dim;
    weight = is_query() ? args.q_norm : is_value() ? nullptr : args.k_norm;
  }

  KOKKOS_INLINE_FUNCTION bool is_query() const { return head < args.heads.query_heads; }
  KOKKOS_INLINE_FUNCTION bool is_value() const { return head >= args.heads.query_heads + args.heads.kv_heads; }
  /// Component i before norm and rotation.
  KOKKOS_INLINE_FUNCTION float operator()(std::int64_t i) const { return bias == nullptr ? in[i] : in[i] + bias[i]; }

  /// Every `step`-th component of a value, or pair of components, from number `first` on, to where it belongs.
  KOKKOS_INLINE_FUNCTION void write(std::int64_t first, std::int64_t step, float scale) const {
    const std::int64_t dim = args.heads.head_dim;
    const kernels::RowInfo info = args.info[row];
    const kernels::CacheTable& cache = args.caches[info.sequence];
    if (is_value()) {
      const std::int64_t kv_head = head - args.heads.query_heads - args.heads.kv_heads;
      float* out = kernels::value_row_at(cache, args.heads, args.layer, kv_head, info.position);
      for (std::int64_t i = first; i < dim; i += step) out[i] = (*this)(i);
      return;
    }
    const auto y = [&](std::int64_t i) {
      const float x = (*this)(i);
      return weight == nullptr ? x : x * scale * weight[i];
    };
    float* out = args.q + row * args.ldq + head * dim;
    std::int64_t distance = 1;
    if (!is_query()) {
      const std::int64_t kv_head = head - args.heads.query_heads;
      out = kernels::key_tile_at(cache, args.heads, args.layer, kv_head, info.position / kernels::key_tile) +
            info.position % kernels::key_tile;
      distance = kernels::key_tile;
    }
    const float* cosine = args.cosine + info.position * (dim / 2);
    const float* sine = args.sine + info.position * (dim / 2);
    for (std::int64_t i = first; i < dim / 2; i += step) {
      float a = y(i);
      float b = y(i + dim / 2);
      rotate(a, b, cosine[i], sine[i]);
      out[i * distance] = is_query() ? a * args.query_scale : a;
      out[(i + dim / 2) * distance] = is_query() ? b * args.query_scale : b;
    }
  }
};

struct RopeThread {
  kernels::Rope args;
  KOKKOS_FUNCTION void operator()(const std::int64_t at) const {
    const RopeHead head(args, at);
    head.write(0, 1, head.weight == nullptr ? 1.0F : inverse_rms(args.heads.head_dim, args.epsilon, head));
  }
};

template <class ExecutionSpace>
void rope(const ExecutionSpace& space, const kernels::Rope& args) {
  using Policy = Kokkos::RangePolicy<ExecutionSpace, Kokkos::IndexType<std::int64_t>>;
  Kokkos::parallel_for("seqkv::model::rope", Policy(space, 0, args.rows * args.heads.all_heads()), RopeThread{args});
}

}  // namespace seqkv::kokkos
