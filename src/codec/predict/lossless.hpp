// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Residuals with the quantizer "lossless": every bit of a cache, by its difference from what is expected. The maths
/// and the format are in lossless.md.
#pragma once

#include <Kokkos_Core.hpp>

#include "codec/predict/lossless_arguments.hpp"
#include "codec/predict/prediction.hpp"
#include "core/growing_array.hpp"
#include "core/mirrored.hpp"

namespace seqkv::codec {

template <class ExecutionSpace>
class LosslessResiduals {
 public:
  /// Precondition: the profile has the tables (check_profile).
  LosslessResiduals(const ExecutionSpace& space, const Prediction<ExecutionSpace>& prediction);

  /// Room for the payload of one sub-block.
  std::int64_t payload_bytes(std::int64_t block_tokens, DType dtype) const;
  void reserve(const BlockGrid& grid);

  /// As PredictiveCoder's, of a sub-block that has been predicted; nothing is restored beside the features.
  void encode(const Prediction<ExecutionSpace>& prediction, const PredictiveStep& predicted, std::int64_t number);
  void decode(const Prediction<ExecutionSpace>& prediction, const PredictiveStep& predicted, std::int64_t number);

  std::int64_t bytes() const;

 private:
  LosslessStep make_step(const Prediction<ExecutionSpace>& prediction, const PredictiveStep& predicted,
                         std::int64_t number) const;
  void settle(const LosslessStep& step, const Prediction<ExecutionSpace>& prediction, std::int64_t number) const;
  void correct(const LosslessStep& step, const kernels::PackedMatrix& matrix) const;

  template <class T>
  using Array = GrowingArray<ExecutionSpace, T>;

  ExecutionSpace space_;
  std::int64_t width_;
  std::int64_t ld_residuals_;
  Array<float> residuals_, corrections_, columns_;
  Array<std::uint8_t> symbols_, classes_;
  Mirrored<ExecutionSpace, SymbolBlock> coded_;
};

}  // namespace seqkv::codec
