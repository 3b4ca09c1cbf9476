// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <fmt/format.h>

#include "codec/compress_lane.hpp"
#include "codec/predict/rate_control.hpp"
#include "core/execution_spaces.hpp"
#include "core/guard_memory.hpp"

namespace seqkv {

template <class ExecutionSpace>
Result<Codec> settle(const ExecutionSpace& space, const Codec& codec, const KvSource& source, std::int64_t block_tokens,
                     const TransferOptions& options) {
  SEQKV_ASSIGN(Codec settled, codec.with_profile(options.profile == nullptr ? codec.profile() : options.profile));
  if (settled.is_settled()) return settled;
  SEQKV_TRY(source.shape.check());
  SEQKV_TRY(codec::check_block_size(source.shape, block_tokens));
  SEQKV_TRY(check_profile(settled, source.shape));
  const double wanted = std::get<EcsqSpec>(settled.quantizer()).bits;
  const double components =
      static_cast<double>(source.tokens.size()) * static_cast<double>(source.shape.components_per_token());
  if (components == 0) return Error(ErrorCode::empty_input, "a target of bits for no tokens");
  return guard_memory("to try steps", [&]() -> Result<Codec> {
    codec::StepSearch search(*settled.profile(), wanted);
    for (bool found = false; !found;) {
      double bytes = 0;
      const codec::Sink count = [&bytes](const CodedBlock& block) -> Result<void> {
        bytes += static_cast<double>(block.size());
        return {};
      };
      SEQKV_TRY(codec::run_compression(space, settled.with_step(search.step()), source, block_tokens, count, options));
      found = search.tell(8 * bytes / components);
    }
    constexpr double far = 1.1;  // a cache of few blocks goes by jumps
    if (search.best_bits() > far * wanted || far * search.best_bits() < wanted) {
      return Error(ErrorCode::invalid_argument,
                   fmt::format("no step gives {} bits a component: the nearest, {}, gives {:.4g}", wanted,
                               search.best_step(), search.best_bits()));
    }
    return settled.with_step(search.best_step());
  });
}

#define SEQKV_INSTANTIATE(Space) \
  template Result<Codec> settle(const Space&, const Codec&, const KvSource&, std::int64_t, const TransferOptions&);
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)
#undef SEQKV_INSTANTIATE

}  // namespace seqkv
