// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "seqkv/surprisal.hpp"

#include <Kokkos_Core.hpp>
#include <algorithm>

#include "core/detmath.hpp"
#include "core/execution_spaces.hpp"
#include "core/guard_memory.hpp"
#include "core/try.hpp"

namespace seqkv {
namespace {

constexpr double one = 65536.0;

/// The most for what is no number, too.
std::uint32_t rounded(double bits) {
  const double units = std::max(bits * one + 0.5, 0.0);
  return units < static_cast<double>(UINT32_MAX) ? static_cast<std::uint32_t>(units) : UINT32_MAX;
}

template <class ExecutionSpace>
Result<std::vector<std::uint32_t>> run(const ExecutionSpace& space, Forward<ExecutionSpace>& forward,
                                       TokenSpan tokens) {
  if (tokens.empty()) return Error(ErrorCode::empty_input, "no tokens");
  constexpr std::size_t step = 256;
  const auto width = static_cast<std::size_t>(forward.model().config().vocabulary);
  std::vector<std::uint32_t> surprisals(tokens.size());
  surprisals[0] = rounded(detmath::log2(static_cast<double>(width)));
  Sequence<ExecutionSpace> sequence(forward.model().config());
  SEQKV_TRY(sequence.reserve(space, static_cast<std::int64_t>(tokens.size())));
  typename Forward<ExecutionSpace>::Output output;
  for (std::size_t first = 0; first < tokens.size(); first += step) {
    const std::size_t count = std::min(step, tokens.size() - first);
    const typename Forward<ExecutionSpace>::Item item{&sequence, tokens.subspan(first, count),
                                                      static_cast<std::int64_t>(count)};
    SEQKV_TRY(forward.run(space, {&item, 1}, &output));
    const auto logits = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), output.logits);
    const std::size_t rows = std::min(count, tokens.size() - first - 1);
    using Rows = Kokkos::RangePolicy<Kokkos::DefaultHostExecutionSpace>;
    Kokkos::parallel_for("seqkv::model::surprisal", Rows(0, rows), [&](std::size_t r) {
      surprisals[first + r + 1] = surprisal_of({&logits(r, 0), width}, tokens[first + r + 1]);
    });
    Kokkos::fence("seqkv::model::surprisal: the logits are local");
  }
  return surprisals;
}

}  // namespace

std::uint32_t surprisal_of(std::span<const float> logits, Token next) {
  constexpr double log2_e = 1.44269504088896340736;
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;  // of 2^(x log2 e), in the order of the vocabulary
  for (const float x : logits) {
    const double exponent = (x - largest) * log2_e;
    sum += exponent < -1000.0 ? 0.0 : detmath::exp2(exponent);
  }
  return rounded(detmath::log2(sum) + (largest - logits[next]) * log2_e);
}

template <class ExecutionSpace>
Result<std::vector<std::uint32_t>> token_surprisals(const ExecutionSpace& space, Forward<ExecutionSpace>& forward,
                                                    TokenSpan tokens) {
  return guard_memory("for the surprisals of tokens", [&] { return run(space, forward, tokens); });
}

#define SEQKV_INSTANTIATE(Space) \
  template Result<std::vector<std::uint32_t>> token_surprisals<Space>(const Space&, Forward<Space>&, TokenSpan);
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)
#undef SEQKV_INSTANTIATE

}  // namespace seqkv
