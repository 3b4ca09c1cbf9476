// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Residuals with the quantizer "ecsq": transform, uniform quantizer and entropy coder. The maths and the format are in
/// spec.md.
#pragma once

#include <Kokkos_Core.hpp>

#include "codec/predict/ecsq_arguments.hpp"
#include "codec/predict/prediction.hpp"
#include "core/growing_array.hpp"
#include "core/mirrored.hpp"

namespace seqkv::codec {

template <class ExecutionSpace>
class EcsqCoder {
 public:
  EcsqCoder(const ExecutionSpace& space, const Prediction<ExecutionSpace>& prediction, float step);

  /// Room for the payload of one sub-block.
  std::int64_t payload_bytes(std::int64_t block_tokens, DType dtype) const;
  void reserve(const BlockGrid& grid);

  /// As PredictiveCoder's, of a sub-block that has been predicted.
  void encode(const Prediction<ExecutionSpace>& prediction, const PredictiveStep& predicted, std::int64_t number);
  void decode(const Prediction<ExecutionSpace>& prediction, const PredictiveStep& predicted, std::int64_t number);

  std::int64_t bytes() const;

 private:
  EcsqStep make_step(const Prediction<ExecutionSpace>& prediction, const PredictiveStep& predicted) const;
  void restore(const EcsqStep& step, const Prediction<ExecutionSpace>& prediction, std::int64_t number) const;

  template <class T>
  using Array = GrowingArray<ExecutionSpace, T>;

  ExecutionSpace space_;
  std::int32_t scale_of_step_;
  std::int64_t coefficients_ = 0;  ///< of the sub-block that has the most
  std::int64_t ld_residuals_;
  Mirrored<ExecutionSpace, Quantizer> quantizers_;
  Array<float> residuals_;
  Array<std::int32_t> order_, group_grade_;
  Array<std::int16_t> numbers_;
  Array<std::uint8_t> symbols_, classes_;
  Mirrored<ExecutionSpace, SymbolBlock> coded_;
};

}  // namespace seqkv::codec
