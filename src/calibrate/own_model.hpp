// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// seqkv's own models for calibration: Forward and CacheGradient.
#pragma once

#include <memory>
#include <utility>

#include "core/float16.hpp"
#include "core/try.hpp"
#include "model/weights.hpp"
#include "seqkv/cache_gradient.hpp"
#include "seqkv/calibration_model.hpp"
#include "seqkv/forward.hpp"

namespace seqkv::calibration {

template <class ExecutionSpace>
class OwnModel final : public CalibrationModel {
 public:
  /// Errors: out_of_memory.
  static Result<OwnModel> create(const ExecutionSpace& space, std::shared_ptr<const Model<ExecutionSpace>> model) {
    SEQKV_ASSIGN(Forward<ExecutionSpace> forward, Forward<ExecutionSpace>::create(space, model));
    SEQKV_ASSIGN(CacheGradient<ExecutionSpace> gradient, CacheGradient<ExecutionSpace>::create(space, model));
    return OwnModel(space, std::move(model), std::move(forward), std::move(gradient));
  }

  const ModelConfig& config() const override { return model_->config(); }
  Digest fingerprint() const override { return model_->fingerprint().combined(); }

  void embedding(Token token, float* out) const override {
    const DType dtype = model_->weights().embedding.matrix.is_bf16 ? DType::bf16 : DType::f32;
    for (std::int64_t i = 0; i < config().hidden; ++i) {
      out[i] = load_as_float(embedding_.data(), dtype, std::int64_t{token} * config().hidden + i);
    }
  }

  Result<void> start(TokenSpan tokens) override {
    sequence_.truncate(0);
    const typename Forward<ExecutionSpace>::Item item{&sequence_, tokens, 0};
    return forward_.run(space_, {&item, 1});
  }
  Result<void> read(const KvView& out) override { return sequence_.read(space_, 0, out); }

  Result<void> gradient(TokenSpan continuation, std::uint64_t seed, const KvView& out) override {
    return gradient_.run(space_, sequence_, continuation, seed, out);
  }

  Result<std::vector<float>> go_on(TokenSpan continuation) override {
    const std::int64_t tokens = sequence_.tokens();
    auto logits = logits_of(sequence_, continuation);
    sequence_.truncate(tokens);
    return logits;
  }
  Result<std::vector<float>> go_on_from(const ConstKvView& restored, TokenSpan continuation) override {
    Sequence<ExecutionSpace> sequence(config());
    SEQKV_TRY(sequence.append(space_, restored));
    return logits_of(sequence, continuation);
  }

 private:
  using HostBytes = decltype(Kokkos::create_mirror_view_and_copy(
      Kokkos::HostSpace(), std::declval<const Model<ExecutionSpace>&>().weights().embedding.memory));

  OwnModel(const ExecutionSpace& space, std::shared_ptr<const Model<ExecutionSpace>> model,
           Forward<ExecutionSpace> forward, CacheGradient<ExecutionSpace> gradient)
      : space_(space),
        model_(std::move(model)),
        forward_(std::move(forward)),
        gradient_(std::move(gradient)),
        sequence_(model_->config()),
        embedding_(Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), model_->weights().embedding.memory)) {}

  Result<std::vector<float>> logits_of(Sequence<ExecutionSpace>& sequence, TokenSpan continuation) {
    const auto rows = static_cast<std::int64_t>(continuation.size());
    typename Forward<ExecutionSpace>::Output output;
    const typename Forward<ExecutionSpace>::Item item{&sequence, continuation, rows};
    SEQKV_TRY(forward_.run(space_, {&item, 1}, &output));
    const auto part = Kokkos::subview(output.logits, std::pair<std::int64_t, std::int64_t>(0, rows), Kokkos::ALL);
    const auto host = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), part);
    return std::vector<float>(host.data(), host.data() + host.size());
  }

  ExecutionSpace space_;
  std::shared_ptr<const Model<ExecutionSpace>> model_;
  Forward<ExecutionSpace> forward_;
  CacheGradient<ExecutionSpace> gradient_;
  Sequence<ExecutionSpace> sequence_;
  HostBytes embedding_;  ///< [vocabulary][hidden]
};

}  // namespace seqkv::calibration
