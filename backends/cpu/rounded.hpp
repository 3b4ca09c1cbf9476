// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Steps of a forward pass that rounds as an engine does: the shared functions, compiled for this instruction set.
#pragma once

#include "model/rounded.hpp"

namespace seqkv::cpu::SEQKV_ISA {

inline void rounded_norm(const kernels::RoundedNorm& args, std::int64_t first, std::int64_t last) {
  for (std::int64_t m = first; m < last; ++m) kernels::rounded_row(args, m);
}
inline void rounded_gate(const kernels::RoundedGate& args, std::int64_t first, std::int64_t last) {
  for (std::int64_t m = first; m < last; ++m) kernels::rounded_row(args, m);
}
inline void rounded_rope(const kernels::RoundedRope& args, std::int64_t first, std::int64_t last) {
  for (std::int64_t m = first; m < last; ++m) kernels::rounded_row(args, m);
}
inline void rounded_softmax(const kernels::RoundedSoftmax& args, std::int64_t first, std::int64_t last) {
  for (std::int64_t m = first; m < last; ++m) kernels::rounded_row(args, m);
}
inline void rounded_heads(const kernels::RoundedHead& args, std::int64_t first, std::int64_t last) {
  for (std::int64_t m = first; m < last; ++m) kernels::rounded_row(args, m);
}

}  // namespace seqkv::cpu::SEQKV_ISA
