// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Integer frequencies of tokens, 16 logits at a time.
#pragma once

#include <cfloat>

#include "backends/cpu/simd.hpp"
#include "replay/frequencies.hpp"

namespace seqkv::cpu::SEQKV_ISA {

inline void frequency_rows(const kernels::Frequencies& args, std::int64_t first, std::int64_t last) {
  using kernels::frequency_group;
  const std::int64_t whole = args.vocabulary / lanes * lanes;
  for (std::int64_t m = first; m < last; ++m) {
    const float* x = args.logits + m * args.ld_logits;
    std::uint32_t* f = args.frequency + m * args.vocabulary;
    f32x16 greatest = splat(-FLT_MAX);
    for (std::int64_t i = 0; i < whole; i += lanes) greatest = greater(load(x + i), greatest);
    float largest = fold_greatest(greatest);
    for (std::int64_t i = whole; i < args.vocabulary; ++i) largest = x[i] > largest ? x[i] : largest;

    for (std::int64_t i = 0; i < whole; i += lanes) {
      store_whole(f + i, kernels::frequency_weight(load(x + i), splat(largest)));
    }
    for (std::int64_t i = whole; i < args.vocabulary; ++i) {
      f[i] = static_cast<std::uint32_t>(kernels::frequency_weight(x[i], largest));
    }
    std::uint64_t sum = 0;
    for (std::int64_t i = 0; i < args.vocabulary; ++i) sum += f[i];

    const unsigned shift = kernels::frequency_shift(sum);
    std::uint32_t total = 0;
    for (std::int64_t g = 0; g < args.groups(); ++g) {
      const std::int64_t begin = g * frequency_group;
      const std::int64_t end = begin + frequency_group < args.vocabulary ? begin + frequency_group : args.vocabulary;
      std::uint32_t of_group = 0;
      for (std::int64_t i = begin; i < end; ++i) {
        f[i] = (f[i] >> shift) + 1;
        of_group += f[i];
      }
      args.group[m * args.groups() + g] = of_group;
      total += of_group;
    }
    args.total[m] = total;
  }
}

}  // namespace seqkv::cpu::SEQKV_ISA
