// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Residuals by transform, quantizer and entropy coder, portable: a thread a head of a slot, or a block. What they do
/// is in src/codec/predict/ecsq_steps.hpp.
#pragma once

#include <Kokkos_Core.hpp>

#include "codec/predict/ecsq_steps.hpp"

namespace seqkv::kokkos {

// Structs, not lambdas: several sources run them (codec/batch.hpp).
struct OrderBlock {
  codec::EcsqStep step;
  KOKKOS_FUNCTION void operator()(const std::int64_t block) const { codec::order_block(step, block); }
};
struct ResidualSlot {
  codec::EcsqStep step;
  KOKKOS_FUNCTION void operator()(const std::int64_t i) const {
    codec::residual_slot(step, i / step.heads, i % step.heads);
  }
};
struct PackBlock {
  codec::EcsqStep step;
  KOKKOS_FUNCTION void operator()(const std::int64_t block) const { codec::pack_block(step, block); }
};
struct ClosePayload {
  codec::EcsqStep step;
  KOKKOS_FUNCTION void operator()(const std::int64_t block) const { codec::close_payload(step, block); }
};
struct OpenPayload {
  codec::EcsqStep step;
  KOKKOS_FUNCTION void operator()(const std::int64_t block) const { codec::open_payload(step, block); }
};
struct UnpackBlock {
  codec::EcsqStep step;
  KOKKOS_FUNCTION void operator()(const std::int64_t block) const { codec::unpack_block(step, block); }
};
struct RestoreSlot {
  codec::EcsqStep step;
  KOKKOS_FUNCTION void operator()(const std::int64_t i) const {
    codec::restore_slot(step, i / step.heads, i % step.heads);
  }
};
struct ClearNumber {
  float* x;
  KOKKOS_FUNCTION void operator()(const std::int64_t i) const { x[i] = 0.0F; }
};

}  // namespace seqkv::kokkos
