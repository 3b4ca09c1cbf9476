// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Predictive coding beside its matrix products, for ranges of rows, slots and blocks: the portable steps
/// (codec/predict/steps.hpp, ecsq_steps.hpp), whose loops over components the compiler turns into vectors.
#pragma once

#include "codec/predict/ecsq_steps.hpp"

namespace seqkv::cpu::SEQKV_ISA {

inline void grade_rows(const codec::PredictiveStep& step, std::int64_t first, std::int64_t last) {
  for (std::int64_t row = first; row < last; ++row) codec::grade_row(step, row);
}

inline void residual_slots(const codec::EcsqStep& step, std::int64_t first, std::int64_t last) {
  for (std::int64_t slot = first; slot < last; ++slot) {
    for (std::int64_t head = 0; head < step.heads; ++head) codec::residual_slot(step, slot, head);
  }
}

inline void restore_slots(const codec::EcsqStep& step, std::int64_t first, std::int64_t last) {
  for (std::int64_t slot = first; slot < last; ++slot) {
    for (std::int64_t head = 0; head < step.heads; ++head) codec::restore_slot(step, slot, head);
  }
}

inline void pack_blocks(const codec::EcsqStep& step, std::int64_t first, std::int64_t last) {
  for (std::int64_t block = first; block < last; ++block) codec::pack_block(step, block);
}

inline void unpack_blocks(const codec::EcsqStep& step, std::int64_t first, std::int64_t last) {
  for (std::int64_t block = first; block < last; ++block) codec::unpack_block(step, block);
}

}  // namespace seqkv::cpu::SEQKV_ISA
