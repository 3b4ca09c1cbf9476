// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Residuals with one of the kernels that code caches as they are (TurboQuant): the residuals of a sub-block, keys
/// turned back, are a cache of floats of their own.
#pragma once

#include <Kokkos_Core.hpp>

#include "backends/kokkos/turboquant.hpp"
#include "codec/predict/prediction.hpp"
#include "core/growing_array.hpp"
#include "core/mirrored.hpp"

namespace seqkv::codec {

template <class ExecutionSpace>
class TurboQuantResiduals {
 public:
  TurboQuantResiduals(const ExecutionSpace& space, const Prediction<ExecutionSpace>& prediction,
                      const kokkos::TurboQuant& kernel);

  /// Room for the payload of one sub-block.
  std::int64_t payload_bytes(std::int64_t block_tokens) const;
  void reserve(const BlockGrid& grid);

  /// As PredictiveCoder's, of a sub-block that has been predicted.
  void encode(const Prediction<ExecutionSpace>& prediction, const PredictiveStep& step, std::int64_t number);
  void decode(const Prediction<ExecutionSpace>& prediction, const PredictiveStep& step, std::int64_t number);

  std::int64_t bytes() const { return residuals_.bytes(); }

 private:
  Subblock largest(std::int64_t block_tokens) const;
  void restore(const PredictiveStep& step) const;

  ExecutionSpace space_;
  KvShape shape_;
  kokkos::TurboQuant kernel_;
  GrowingArray<ExecutionSpace, float> residuals_;
  Mirrored<ExecutionSpace, Task> tasks_;  ///< one a block, of floats
};

}  // namespace seqkv::codec
