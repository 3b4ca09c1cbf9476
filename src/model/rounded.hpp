// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The steps between matrix products of a forward pass that rounds where an engine does (seqkv/rounding.hpp), one row
/// at a time. The portable kernels (backends/kokkos) and those of CPUs (backends/cpu) run these very functions: the
/// compiler makes vectors of them, which changes no bit. No Kokkos here.
///
/// Sums over a row are the 16 chains of model/kernels.hpp.
#pragma once

#include <cfloat>

#include "backends/kokkos/row_sum.hpp"
#include "core/float16.hpp"
#include "model/kernels.hpp"
#include "seqkv/rounding.hpp"

namespace seqkv::kernels {

template <DType dtype>
SEQKV_INLINE float rounded(float x) {
  if constexpr (dtype == DType::bf16) return bf16_to_float(float_to_bf16(x));
  if constexpr (dtype == DType::f16) return f16_to_float(float_to_f16(x));
  return x;
}
template <DType dtype>
SEQKV_INLINE float rounded_if(bool wanted, float x) {
  return wanted ? rounded<dtype>(x) : x;
}

struct RoundedNorm {
  Norm norm;
  Rounding rounding;
};
struct RoundedGate {
  GatedActivation gate;
  Rounding rounding;
};
/// Queries are not scaled.
struct RoundedRope {
  Rope rope;
  Rounding rounding;
};
/// Scores of one query head become weights of values, in place; 0 for keys that are not seen.
struct RoundedSoftmax {
  std::int64_t rows = 0;
  std::int64_t window = 0;
  const RowInfo* info = nullptr;
  float* scores = nullptr;   ///< [rows][ld]
  std::int64_t ld = 0;       ///< keys, rounded up to panels
  float scale = 1;           ///< of scores
  float* divisor = nullptr;  ///< [rows]: what the sum of weighted values is to be divided by
  Rounding rounding;
};
/// One query head's sums of weighted values to their place in a row.
struct RoundedHead {
  std::int64_t rows = 0;
  std::int64_t head_dim = 0;
  const float* sums = nullptr;
  std::int64_t lds = 0;
  const float* divisor = nullptr;
  float* out = nullptr;  ///< of this head in row 0
  std::int64_t ldo = 0;
  Rounding rounding;
};

template <DType dtype>
SEQKV_INLINE void rounded_norm_row(const RoundedNorm& args, std::int64_t m) {
  const Norm& norm = args.norm;
  float* x = norm.x + m * norm.ldx;
  float* y = norm.y + m * norm.ldy;
  if (norm.delta != nullptr) {
    const float* delta = norm.delta + m * norm.ldd;
    for (std::int64_t i = 0; i < norm.width; ++i) {
      x[i] = rounded<dtype>(x[i] + rounded<dtype>(norm.bias == nullptr ? delta[i] : delta[i] + norm.bias[i]));
    }
  }
  if (norm.y == nullptr) return;
  const float scale = kokkos::inverse_rms(norm.width, norm.epsilon, [x](std::int64_t i) { return x[i]; });
  const bool inner = args.rounding.norm_scaled;
  for (std::int64_t i = 0; i < norm.width; ++i) {
    y[i] = rounded<dtype>(rounded_if<dtype>(inner, x[i] * scale) * norm.weight[i]);
  }
}

template <DType dtype>
SEQKV_INLINE void rounded_gate_row(const RoundedGate& args, std::int64_t m) {
  const GatedActivation& gated = args.gate;
  const float* gates = gated.gate_up + m * gated.ldg;
  const float* ups = gates + gated.width;
  const float* bias = gated.bias;
  float* act = gated.act + m * gated.lda;
  for (std::int64_t i = 0; i < gated.width; ++i) {
    const float gate = rounded<dtype>(bias == nullptr ? gates[i] : gates[i] + bias[i]);
    const float up = rounded<dtype>(bias == nullptr ? ups[i] : ups[i] + bias[gated.width + i]);
    act[i] = rounded<dtype>(rounded_if<dtype>(args.rounding.activation, detmath::silu(gate)) * up);
  }
}

/// A head of a row of the QKV product, with bias, rounded, normalized where there is a weight, turned by an angle.
template <DType dtype>
SEQKV_INLINE void rounded_head(const RoundedRope& args, const float* in, const float* bias, const float* weight,
                               const float* cosine, const float* sine, float* out) {
  const std::int64_t dim = args.rope.heads.head_dim;
  const Rounding& rounding = args.rounding;
  for (std::int64_t i = 0; i < dim; ++i) out[i] = rounded<dtype>(bias == nullptr ? in[i] : in[i] + bias[i]);
  if (weight != nullptr) {
    const float scale = kokkos::inverse_rms(dim, args.rope.epsilon, [out](std::int64_t i) { return out[i]; });
    for (std::int64_t i = 0; i < dim; ++i) {
      out[i] = rounded<dtype>(rounded_if<dtype>(rounding.norm_scaled, out[i] * scale) * weight[i]);
    }
  }
  if (cosine == nullptr) return;
  for (std::int64_t i = 0; i < dim / 2; ++i) {
    const float c = rounded_if<dtype>(rounding.rotary_table, cosine[i]);
    const float s = rounded_if<dtype>(rounding.rotary_table, sine[i]);
    const float a = out[i];
    const float b = out[i + dim / 2];
    const bool products = rounding.rotary_products;
    out[i] = rounded<dtype>(rounded_if<dtype>(products, a * c) - rounded_if<dtype>(products, b * s));
    out[i + dim / 2] = rounded<dtype>(rounded_if<dtype>(products, b * c) + rounded_if<dtype>(products, a * s));
  }
}

template <DType dtype>
SEQKV_INLINE void rounded_rope_row(const RoundedRope& args, std::int64_t m) {
  const Rope& rope = args.rope;
  const HeadShape& heads = rope.heads;
  const std::int64_t dim = heads.head_dim;
  const RowInfo row = rope.info[m];
  const CacheTable& cache = rope.caches[row.sequence];
  const float* cosine = rope.cosine + row.position * (dim / 2);
  const float* sine = rope.sine + row.position * (dim / 2);
  const float* in = rope.qkv + m * rope.ld_qkv;
  const auto bias_of = [&](std::int64_t head) { return rope.bias == nullptr ? nullptr : rope.bias + head * dim; };
  for (std::int64_t head = 0; head < heads.query_heads; ++head) {
    rounded_head<dtype>(args, in + head * dim, bias_of(head), rope.q_norm, cosine, sine,
                        rope.q + m * rope.ldq + head * dim);
  }
  for (std::int64_t head = 0; head < heads.kv_heads; ++head) {
    float key[512];  // limits::max_head_dim
    const std::int64_t key_head = heads.query_heads + head;
    rounded_head<dtype>(args, in + key_head * dim, bias_of(key_head), rope.k_norm, cosine, sine, key);
    float* tile = key_tile_at(cache, heads, rope.layer, head, row.position / key_tile) + row.position % key_tile;
    for (std::int64_t i = 0; i < dim; ++i) tile[i * key_tile] = key[i];
    const std::int64_t value_head = key_head + heads.kv_heads;
    rounded_head<dtype>(args, in + value_head * dim, bias_of(value_head), nullptr, nullptr, nullptr,
                        value_row_at(cache, heads, rope.layer, head, row.position));
  }
}

template <DType dtype>
SEQKV_INLINE void rounded_softmax_row(const RoundedSoftmax& args, std::int64_t m) {
  const Rounding& rounding = args.rounding;
  const std::int64_t position = args.info[m].position;
  const std::int64_t begin = first_visible(position, args.window);
  const std::int64_t count = position + 1 - begin;
  float* row = args.scores + m * args.ld;
  float* scores = row + begin;
  for (std::int64_t j = 0; j < count; ++j) {
    scores[j] = rounded_if<dtype>(rounding.scores, rounded_if<dtype>(rounding.scores, scores[j]) * args.scale);
  }
  float largest = -FLT_MAX;
  for (std::int64_t j = 0; j < count; ++j) largest = scores[j] > largest ? scores[j] : largest;
  for (std::int64_t j = 0; j < count; ++j) scores[j] = detmath::exp(scores[j] - largest);
  const float sum = kokkos::row_sum(count, [&](std::int64_t j, float acc) { return acc + scores[j]; });
  const bool relative = rounding.probabilities == Rounding::Probabilities::relative;
  const bool round = rounding.probabilities != Rounding::Probabilities::kept;
  const float divisor = relative ? 1.0F : sum;
  for (std::int64_t j = 0; j < count; ++j) scores[j] = rounded_if<dtype>(round, scores[j] / divisor);
  for (std::int64_t j = 0; j < begin; ++j) row[j] = 0;
  for (std::int64_t j = position + 1; j < args.ld; ++j) row[j] = 0;
  args.divisor[m] = relative ? sum : 1.0F;
}

template <DType dtype>
SEQKV_INLINE void rounded_head_row(const RoundedHead& args, std::int64_t m) {
  const float* sums = args.sums + m * args.lds;
  float* out = args.out + m * args.ldo;
  for (std::int64_t i = 0; i < args.head_dim; ++i) out[i] = rounded<dtype>(sums[i] / args.divisor[m]);
}

/// One row of a step whose function is known for every dtype. No lambda: nothing may stay out of line
/// (core/detmath.hpp).
#define SEQKV_ROUNDED_ROW(Args, function)                           \
  SEQKV_INLINE void rounded_row(const Args& args, std::int64_t m) { \
    if (args.rounding.dtype == DType::bf16) {                       \
      function<DType::bf16>(args, m);                               \
    } else if (args.rounding.dtype == DType::f16) {                 \
      function<DType::f16>(args, m);                                \
    } else {                                                        \
      function<DType::f32>(args, m);                                \
    }                                                               \
  }
SEQKV_ROUNDED_ROW(RoundedNorm, rounded_norm_row)
SEQKV_ROUNDED_ROW(RoundedGate, rounded_gate_row)
SEQKV_ROUNDED_ROW(RoundedRope, rounded_rope_row)
SEQKV_ROUNDED_ROW(RoundedSoftmax, rounded_softmax_row)
SEQKV_ROUNDED_ROW(RoundedHead, rounded_head_row)
#undef SEQKV_ROUNDED_ROW

}  // namespace seqkv::kernels
