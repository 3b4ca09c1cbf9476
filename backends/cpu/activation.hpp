// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// SwiGLU's gate, 16 elements at a time.
#pragma once

#include "backends/cpu/simd.hpp"
#include "model/kernels.hpp"

namespace seqkv::cpu::SEQKV_ISA {

inline void gated_rows(const kernels::GatedActivation& args, std::int64_t first, std::int64_t last) {
  for (std::int64_t m = first; m < last; ++m) {
    const float* gates = args.gate_up + m * args.ldg;
    const float* ups = gates + args.width;
    for_each_vector(args.width, [&](std::int64_t i, auto load_, auto store_) {
      f32x16 gate = load_(gates + i);
      f32x16 up = load_(ups + i);
      if (args.bias != nullptr) {
        gate = gate + load_(args.bias + i);
        up = up + load_(args.bias + args.width + i);
      }
      store_(args.act + m * args.lda + i, detmath::silu(gate) * up);
    });
  }
}

}  // namespace seqkv::cpu::SEQKV_ISA
