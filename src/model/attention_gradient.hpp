// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Attention of one layer differentiated, for rows of one sequence. All its sums are matrix products of the kind that
/// the forward pass has kernels for: one chain an output, in the order of tokens, or of heads and rows.
#pragma once

#include "backends/kokkos/attention_gradient.hpp"
#include "model/forward_state.hpp"

namespace seqkv {

template <class ExecutionSpace>
class AttentionGradient {
 public:
  void reserve(const ExecutionSpace& space, const kernels::HeadShape& heads, std::int64_t rows, std::int64_t keys) {
    heads_ = heads;
    rows_ = rows;
    keys_ = keys;
    const auto floats = [&](Floats& view, const char* label, std::int64_t count) {
      if (static_cast<std::int64_t>(view.size()) >= count) return;
      view = {};
      view =
          Floats(Kokkos::view_alloc(space, Kokkos::WithoutInitializing, std::string("seqkv::model::") + label), count);
    };
    const std::int64_t pairs = heads.query_heads * rows * ld_keys();
    floats(p_, "probabilities", pairs);
    floats(ds_, "dscores", pairs);
    floats(p_panels_, "probability_panels", pairs);
    floats(ds_panels_, "dscore_panels", pairs);
    floats(key_panels_, "key_panels", heads.kv_heads * ld_keys() * heads.head_dim);
    floats(value_panels_, "value_panels", heads.kv_heads * ld_keys() * heads.head_dim);
    floats(key_columns_, "key_columns", heads.kv_heads * ld_dim() * keys);
    floats(queries_, "queries_transposed", heads.query_heads * rows * heads.head_dim);
    floats(dout_, "dattended_transposed", heads.query_heads * rows * heads.head_dim);
    floats(dq_, "dq", heads.query_heads * rows * ld_dim());
    dk_.reserve("seqkv::model::dk", heads.kv_heads * heads.head_dim * ld_keys());
    dv_.reserve("seqkv::model::dv", heads.kv_heads * heads.head_dim * ld_keys());
  }

  /// `args` is what the forward pass had (its `out` is not read); dout is the gradient of its output.
  void run(const ExecutionSpace& space, const kernels::Attention& args, const float* dout, std::int64_t lddout) const {
    const std::int64_t group = heads_.query_heads / heads_.kv_heads;
    pack(space, {args.caches, heads_, args.layer, keys_, false, false, key_panels_.data()});
    pack(space, {args.caches, heads_, args.layer, keys_, true, false, value_panels_.data()});
    pack(space, {args.caches, heads_, args.layer, keys_, false, true, key_columns_.data()});
    transpose(space, args.q, args.ldq, queries_.data());
    transpose(space, dout, lddout, dout_.data());
    for (std::int64_t head = 0; head < heads_.query_heads; ++head) {
      const std::int64_t panel = head / group * ld_keys() * heads_.head_dim;
      const std::int64_t pairs = head * rows_ * ld_keys();
      const std::int64_t column = head * heads_.head_dim;
      model::gemm(space, kernels::Gemm{rows_, args.q + column, args.ldq, by_token(key_panels_.data() + panel),
                                       p_.data() + pairs, ld_keys()});
      model::gemm(space, kernels::Gemm{rows_, dout + column, lddout, by_token(value_panels_.data() + panel),
                                       ds_.data() + pairs, ld_keys()});
    }
    Kokkos::parallel_for("seqkv::model::softmax_gradient", Policy(space, 0, heads_.query_heads * rows_),
                         kokkos::SoftmaxGradientRow{heads_, rows_, args.window, args.info, ld_keys(), p_.data(),
                                                    ds_.data(), p_panels_.data(), ds_panels_.data()});
    for (std::int64_t head = 0; head < heads_.query_heads; ++head) {
      const kernels::PackedMatrix columns{key_columns_.data() + head / group * ld_dim() * keys_, false, heads_.head_dim,
                                          keys_};
      model::gemm(space, kernels::Gemm{rows_, ds_.data() + head * rows_ * ld_keys(), ld_keys(), columns,
                                       dq_.data() + head * rows_ * ld_dim(), ld_dim()});
    }
    for (std::int64_t head = 0; head < heads_.kv_heads; ++head) {
      const std::int64_t rows = group * rows_;
      const auto product = [&](const Floats& a, const Floats& panels, float* out) {
        const kernels::PackedMatrix b{panels.data() + head * rows * ld_keys(), false, keys_, rows};
        model::gemm(space, kernels::Gemm{heads_.head_dim, a.data() + head * heads_.head_dim * rows, rows, b,
                                         out + head * heads_.head_dim * ld_keys(), ld_keys()});
      };
      product(queries_, ds_panels_, dk_.device());
      product(dout_, p_panels_, dv_.device());
    }
  }

  /// On to the QKV product, whose row m is token `context` + m.
  void back_through_rope(const ExecutionSpace& space, const kernels::Rope& rope, std::int64_t context,
                         const Matrix<ExecutionSpace>& dqkv) const {
    const std::int64_t all_heads = heads_.all_heads();
    Kokkos::parallel_for(
        "seqkv::model::rope_gradient", Policy(space, 0, rows_ * all_heads),
        kokkos::RopeGradientHead{rope, dq_.data(), ld_dim(), dk_.device(), dv_.device(), ld_keys(), context,
                                 dqkv.data(), static_cast<std::int64_t>(dqkv.stride(0)), all_heads});
  }

  /// The gradients of the first out.tokens keys and values. Fences.
  void store(const ExecutionSpace& space, std::int64_t layer, const KvView& out) const {
    const std::int64_t count = heads_.kv_heads * heads_.head_dim * ld_keys();
    dk_.to_host(space, count);
    dv_.to_host(space, count);
    space.fence("seqkv::model::cache_gradient: gradients are copied on the host");
    for (const Kind kind : {Kind::key, Kind::value}) {
      const float* from = kind == Kind::key ? dk_.host() : dv_.host();
      auto* to = reinterpret_cast<float*>(out.tensor(layer, kind));
      const KvStrides& stride = out.strides[static_cast<int>(kind)];
      for (std::int64_t head = 0; head < heads_.kv_heads; ++head) {
        for (std::int64_t token = 0; token < out.tokens; ++token) {
          for (std::int64_t i = 0; i < heads_.head_dim; ++i) {
            to[head * stride.head + token * stride.token + i * stride.component] =
                from[(head * heads_.head_dim + i) * ld_keys() + token];
          }
        }
      }
    }
  }

 private:
  using Floats = Kokkos::View<float*, typename ExecutionSpace::memory_space>;
  using Policy = Kokkos::RangePolicy<ExecutionSpace, Kokkos::IndexType<std::int64_t>>;

  std::int64_t ld_keys() const { return round_up(keys_, kernels::panel_width); }
  std::int64_t ld_dim() const { return round_up(heads_.head_dim, kernels::panel_width); }
  kernels::PackedMatrix by_token(const float* panels) const { return {panels, false, keys_, heads_.head_dim}; }

  static void pack(const ExecutionSpace& space, const kokkos::PackCache& work) {
    Kokkos::parallel_for("seqkv::model::pack_cache", Policy(space, 0, work.count()), work);
  }
  void transpose(const ExecutionSpace& space, const float* from, std::int64_t ld, float* to) const {
    Kokkos::parallel_for("seqkv::model::transpose_heads", Policy(space, 0, heads_.query_heads * heads_.head_dim),
                         kokkos::TransposeHeads{heads_, rows_, from, ld, to});
  }

  kernels::HeadShape heads_;
  std::int64_t rows_ = 0;
  std::int64_t keys_ = 0;
  Floats p_, ds_;                ///< [query_heads][rows][ld_keys]
  Floats p_panels_, ds_panels_;  ///< by KV head
  Floats key_panels_, value_panels_, key_columns_;
  Floats queries_, dout_;                    ///< [kv_heads][head_dim][query heads of the KV head][rows]
  Floats dq_;                                ///< [query_heads][rows][ld_dim]
  Mirrored<ExecutionSpace, float> dk_, dv_;  ///< [kv_heads][head_dim][ld_keys]
};

}  // namespace seqkv
