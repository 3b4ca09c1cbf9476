// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Attention differentiated (reverse mode), portable: what lies between its matrix products
/// (model/attention_gradient.hpp).
#pragma once

#include <Kokkos_Core.hpp>
#include <numbers>

#include "backends/kokkos/gradient.hpp"
#include "backends/kokkos/rope.hpp"

namespace seqkv::kokkos {

/// Keys or values of one layer, head by head, in panels (kernels::PackedMatrix): one row of 32 of a panel.
struct PackCache {
  const kernels::CacheTable* cache;
  kernels::HeadShape heads;
  std::int64_t layer;
  std::int64_t keys;  ///< tokens
  bool values;        ///< else keys
  bool by_component;  ///< a matrix [head_dim][tokens], else [tokens][head_dim]
  float* to;

  KOKKOS_FUNCTION std::int64_t inputs() const { return by_component ? keys : heads.head_dim; }
  KOKKOS_FUNCTION std::int64_t outputs() const { return by_component ? heads.head_dim : keys; }
  /// Rows of panels of all heads.
  KOKKOS_FUNCTION std::int64_t count() const {
    return heads.kv_heads * ((outputs() + kernels::panel_width - 1) / kernels::panel_width) * inputs();
  }

  KOKKOS_FUNCTION void operator()(const std::int64_t at) const {
    using kernels::key_tile;
    using kernels::panel_width;
    const std::int64_t panels = (outputs() + panel_width - 1) / panel_width;
    const std::int64_t k = at % inputs();
    const std::int64_t first = at / inputs() % panels * panel_width;
    const std::int64_t head = at / inputs() / panels;
    const std::int64_t token = by_component ? k : first;
    const std::int64_t component = by_component ? first : k;
    const float* from = nullptr;
    std::int64_t step = 1;
    if (values) {
      from = kernels::value_row_at(*cache, heads, layer, head, token) + component;
      if (!by_component) step = kernels::padded_value_width(heads.head_dim);
    } else {
      from =
          kernels::key_tile_at(*cache, heads, layer, head, token / key_tile) + component * key_tile + token % key_tile;
      if (by_component) step = key_tile;
    }
    float* row = to + at * panel_width;
    for (std::int64_t i = 0; i < panel_width; ++i) row[i] = first + i < outputs() ? from[i * step] : 0.0F;
  }
};

/// [rows][query_heads * head_dim] to [kv_heads][head_dim][query heads of the KV head][rows].
struct TransposeHeads {
  kernels::HeadShape heads;
  std::int64_t rows;
  const float* from;
  std::int64_t ld;
  float* to;

  KOKKOS_FUNCTION void operator()(const std::int64_t at) const {
    const std::int64_t group = heads.query_heads / heads.kv_heads;
    const std::int64_t head = at % group;
    const std::int64_t i = at / group % heads.head_dim;
    const std::int64_t kv_head = at / group / heads.head_dim;
    const float* column = from + (kv_head * group + head) * heads.head_dim + i;
    for (std::int64_t m = 0; m < rows; ++m) to[at * rows + m] = column[m * ld];
  }
};

/// Scores of one (query head, row), in units of log2, become probabilities, and the gradients of probabilities those of
/// scores. Both are also laid out as panels, whose inner index is (query head of the KV head, row). 0 for unseen keys.
struct SoftmaxGradientRow {
  kernels::HeadShape heads;
  std::int64_t rows;
  std::int64_t window;
  const kernels::RowInfo* info;
  std::int64_t ld;  ///< keys, rounded up to panels
  float* p;         ///< [query_heads][rows][ld]: scores
  float* ds;        ///< gradients of probabilities
  float* p_panels;  ///< [kv_heads][ld / 32][query heads of the KV head * rows][32]
  float* ds_panels;

  KOKKOS_FUNCTION void operator()(const std::int64_t at) const {
    const std::int64_t position = info[at % rows].position;
    const std::int64_t begin = kernels::first_visible(position, window);
    const std::int64_t count = position + 1 - begin;
    float* scores = p + at * ld + begin;
    float* gradients = ds + at * ld + begin;
    float largest = scores[0];
    for (std::int64_t j = 1; j < count; ++j) largest = scores[j] > largest ? scores[j] : largest;
    const float sum = row_sum(count, [&](std::int64_t j, float acc) {
      scores[j] = detmath::exp2(scores[j] - largest);
      return acc + scores[j];
    });
    const float inverse = 1.0F / sum;
    const float mean = row_sum(count, [&](std::int64_t j, float acc) {
      scores[j] *= inverse;
      return detmath::fma(scores[j], gradients[j], acc);
    });
    for (std::int64_t j = 0; j < count; ++j)
      gradients[j] = std::numbers::ln2_v<float> * scores[j] * (gradients[j] - mean);
    for (std::int64_t j = 0; j < begin; ++j) p[at * ld + j] = ds[at * ld + j] = 0;
    for (std::int64_t j = position + 1; j < ld; ++j) p[at * ld + j] = ds[at * ld + j] = 0;
    fill_panels(at, p, p_panels);
    fill_panels(at, ds, ds_panels);
  }

  KOKKOS_FUNCTION void fill_panels(std::int64_t at, const float* from, float* to) const {
    using kernels::panel_width;
    const std::int64_t inputs = heads.query_heads / heads.kv_heads * rows;
    float* out = to + (at / inputs * ld / panel_width * inputs + at % inputs) * panel_width;
    for (std::int64_t j = 0; j < ld; ++j)
      out[j / panel_width * inputs * panel_width + j % panel_width] = from[at * ld + j];
  }
};

/// Gradients of a row of the QKV product from those of its queries, keys and values: backwards through scale, RoPE and
/// the norms of queries and keys.
struct RopeGradientHead {
  kernels::Rope args;  ///< as in the forward pass
  const float* dq;     ///< [query_heads][rows][ldq], of the scaled queries
  std::int64_t ldq;
  const float* dk;  ///< [kv_heads][head_dim][ldk]
  const float* dv;
  std::int64_t ldk;
  std::int64_t context;  ///< row m is token context + m
  float* dqkv;
  std::int64_t ld;
  std::int64_t all_heads;

  KOKKOS_FUNCTION void operator()(const std::int64_t at) const {
    const std::int64_t m = at / all_heads;
    const std::int64_t head = at % all_heads;
    const std::int64_t dim = args.heads.head_dim;
    const std::int64_t key_head = head - args.heads.query_heads;
    const std::int64_t value_head = key_head - args.heads.kv_heads;
    float* out = dqkv + m * ld + head * dim;
    if (value_head >= 0) {
      for (std::int64_t i = 0; i < dim; ++i) out[i] = dv[(value_head * dim + i) * ldk + context + m];
      return;
    }
    const bool is_query = key_head < 0;
    const float* in = is_query ? dq + (head * args.rows + m) * ldq : dk + key_head * dim * ldk + context + m;
    const std::int64_t step = is_query ? 1 : ldk;
    const std::int64_t position = args.info[m].position;
    const float* cosine = args.cosine + position * (dim / 2);
    const float* sine = args.sine + position * (dim / 2);
    const float scale = is_query ? args.query_scale : 1.0F;
    for (std::int64_t i = 0; i < dim / 2; ++i) {
      float a = in[i * step] * scale;
      float b = in[(i + dim / 2) * step] * scale;
      rotate(a, b, cosine[i], -sine[i]);
      out[i] = a;
      out[i + dim / 2] = b;
    }
    const float* weight = is_query ? args.q_norm : args.k_norm;
    if (weight == nullptr) return;
    const float* row = args.qkv + m * args.ld_qkv + head * dim;
    const float* bias = args.bias == nullptr ? nullptr : args.bias + head * dim;
    norm_gradient(
        dim, args.epsilon, [=](std::int64_t i) { return bias == nullptr ? row[i] : row[i] + bias[i]; },
        [=](std::int64_t i) { return out[i] * weight[i]; }, [=](std::int64_t i, float add) { out[i] = add; });
  }
};

}  // namespace seqkv::kokkos
