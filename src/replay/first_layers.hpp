// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The first layers of a model over a session, block after block: what replay:LAYERS computes again (docs/replay.md).
#pragma once

#include <memory>

#include "core/try.hpp"
#include "seqkv/forward.hpp"

namespace seqkv::replay {

template <class ExecutionSpace>
class FirstLayers {
 public:
  /// Runs `layers` of them, below the model's number. Errors: out_of_memory.
  static Result<FirstLayers> create(const ExecutionSpace& space, std::shared_ptr<const Model<ExecutionSpace>> model,
                                    std::int64_t layers, std::int64_t block_tokens) {
    SEQKV_ASSIGN(auto forward, Forward<ExecutionSpace>::create(space, std::move(model), block_tokens));
    return FirstLayers(std::move(forward), layers);
  }

  /// Sub-blocks of a block that come of it: those of the layers that are run, and of the next one, whose keys and
  /// values follow from the state that enters it.
  std::int64_t subblocks() const { return 2 * (layers_ + 1); }

  /// The next tokens; what prefill makes of them goes to the same sub-blocks of `out`.
  Result<void> run(const ExecutionSpace& space, TokenSpan tokens, const KvView& out) {
    const std::int64_t first = sequence_.tokens();
    const typename Forward<ExecutionSpace>::Item item{&sequence_, tokens, 0};
    SEQKV_TRY(forward_.run_first(space, {&item, 1}, layers_));
    KvView part = out;
    part.shape.layers = layers_ + 1;
    part.tensors.resize(static_cast<std::size_t>(subblocks()));
    return sequence_.read(space, first, part);
  }

 private:
  FirstLayers(Forward<ExecutionSpace> forward, std::int64_t layers)
      : layers_(layers), forward_(std::move(forward)), sequence_(forward_.model().config()) {}

  std::int64_t layers_;
  Forward<ExecutionSpace> forward_;
  Sequence<ExecutionSpace> sequence_;
};

}  // namespace seqkv::replay
