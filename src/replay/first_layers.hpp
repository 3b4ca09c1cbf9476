// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The first layers of a model over a session, block after block: what replay:LAYERS computes again (docs/replay.md).
#pragma once

#include "model/rounded_forward.hpp"
#include "replay/ordered.hpp"

namespace seqkv::replay {

template <class ExecutionSpace>
class FirstLayers {
 public:
  /// Runs `layers` of them, below the model's last. Throws where memory is short.
  FirstLayers(const ExecutionSpace& space, const std::shared_ptr<const Model<ExecutionSpace>>& model,
              std::int64_t layers, DType dtype, std::int64_t block_tokens)
      : layers_(layers), forward_(space, model, Rounding::none(), dtype, block_tokens), sequence_(model->config()) {}

  /// Sub-blocks of a block that come of it: those of the layers that are run, and of the next one, whose keys and
  /// values follow from the state that enters it.
  std::int64_t subblocks() const { return 2 * (layers_ + 1); }

  /// The next tokens; their keys and values go to the same sub-blocks of `out`, which is contiguous host memory.
  Result<void> run(const ExecutionSpace& space, TokenSpan tokens, const KvView& out) {
    SEQKV_TRY(forward_.begin(space, sequence_, tokens));
    for (std::int64_t layer = 0; layer <= layers_; ++layer) {
      forward_.project(space, layer);
      store_layer(forward_.cache(space, layer), layer, out);
      if (layer < layers_) forward_.finish(space, layer);
    }
    forward_.end(space, sequence_);
    return {};
  }

 private:
  std::int64_t layers_;
  RoundedForward<ExecutionSpace> forward_;
  Sequence<ExecutionSpace> sequence_;
};

}  // namespace seqkv::replay
