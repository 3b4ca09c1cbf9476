// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The model that benchmarks run: SEQKV_MODEL or the embedded one.
#pragma once

#include <Kokkos_Core.hpp>
#include <cstdlib>
#include <memory>
#include <vector>

#include "seqkv/model.hpp"
#include "support/value.hpp"

namespace seqkv::bench {

using Space = Kokkos::DefaultExecutionSpace;

inline std::shared_ptr<const Model<Space>> model() {
  static std::shared_ptr<const Model<Space>> loaded;
  if (loaded == nullptr) {
    const char* folder = std::getenv("SEQKV_MODEL");
    loaded = value_of(Model<Space>::load(Space(), folder != nullptr ? folder : SEQKV_SOURCE "/models/docs-7m"));
    Kokkos::push_finalize_hook([] { loaded.reset(); });  // its Views must not outlive Kokkos
  }
  return loaded;
}

/// Any tokens will do: the time does not depend on them.
inline std::vector<Token> some_tokens(std::int64_t count) {
  std::vector<Token> tokens(static_cast<std::size_t>(count));
  std::uint64_t state = 1;
  for (Token& token : tokens) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    token = static_cast<Token>((state >> 33U) % static_cast<std::uint64_t>(model()->config().vocabulary));
  }
  return tokens;
}

}  // namespace seqkv::bench
