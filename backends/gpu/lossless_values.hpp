// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// What decoding and encoding lossless on a GPU share: values, and the policy of teams of 64 threads a sub-block, 8 of
/// them a head.
#pragma once

#include <Kokkos_Core.hpp>
#include <cstdint>

#include "backends/gpu/lanes.hpp"
#include "seqkv/inline.hpp"

namespace seqkv::gpu {

inline constexpr int lossless_team = 64;
inline constexpr int heads_together = lossless_team / group_lanes;

/// Four values of bf16 as their exponents and the rest, a byte each.
struct FourValues {
  std::uint32_t exponents, rests;

  static KOKKOS_INLINE_FUNCTION FourValues of(std::uint64_t values) {
    FourValues out{0, 0};
    SEQKV_UNROLL for (unsigned i = 0; i < 4; ++i) {
      const auto u = static_cast<std::uint32_t>(values >> (16 * i) & 0xffffU);
      out.exponents |= (u >> 7U & 0xffU) << (8 * i);
      out.rests |= ((u >> 8U & 0x80U) | (u & 0x7fU)) << (8 * i);
    }
    return out;
  }
  KOKKOS_INLINE_FUNCTION std::uint64_t joined() const {
    std::uint64_t values = 0;
    SEQKV_UNROLL for (unsigned i = 0; i < 4; ++i) {
      const std::uint32_t rest = rests >> (8 * i) & 0xffU;
      const std::uint32_t u = (rest & 0x80U) << 8U | (exponents >> (8 * i) & 0xffU) << 7U | (rest & 0x7fU);
      values |= std::uint64_t{u} << (16 * i);
    }
    return values;
  }
};

/// Teams at once: as many as the memory of the teams allows.
template <class ExecutionSpace, int Teams>
using LosslessPolicy = Kokkos::TeamPolicy<ExecutionSpace, Kokkos::LaunchBounds<lossless_team, Teams>>;

}  // namespace seqkv::gpu
