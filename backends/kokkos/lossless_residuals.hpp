// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Residuals without loss, portable: a thread a row, a head of a row, or a block. What they do is in
/// src/codec/predict/lossless_steps.hpp.
#pragma once

#include <Kokkos_Core.hpp>

#include "codec/predict/lossless_steps.hpp"

namespace seqkv::kokkos {

// Structs, not lambdas: several sources run them (codec/batch.hpp).
struct SettleRow {
  codec::LosslessStep step;
  KOKKOS_FUNCTION void operator()(const std::int64_t row) const { codec::settle_row(step, row); }
};
struct LosslessResidual {
  codec::LosslessStep step;
  KOKKOS_FUNCTION void operator()(const std::int64_t i) const {
    codec::residual_row(step, i / step.heads, i % step.heads);
  }
};
struct PackLossless {
  codec::LosslessStep step;
  KOKKOS_FUNCTION void operator()(const std::int64_t block) const { codec::pack_lossless(step, block); }
};
struct CloseLossless {
  codec::LosslessStep step;
  KOKKOS_FUNCTION void operator()(const std::int64_t block) const { codec::close_lossless(step, block); }
};
struct OpenLossless {
  codec::LosslessStep step;
  KOKKOS_FUNCTION void operator()(const std::int64_t block) const { codec::open_lossless(step, block); }
};
struct UnpackLossless {
  codec::LosslessStep step;
  KOKKOS_FUNCTION void operator()(const std::int64_t block) const { codec::unpack_lossless(step, block); }
};

}  // namespace seqkv::kokkos
