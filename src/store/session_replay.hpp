// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Sessions of a batch whose codec needs the model: a block follows from all before it.
#pragma once

#include <algorithm>
#include <optional>

#include "core/try.hpp"
#include "seqkv/batch.hpp"
#include "seqkv/replay.hpp"

namespace seqkv::store {

inline std::int64_t common_prefix(TokenSpan a, TokenSpan b) { return std::ranges::mismatch(a, b).in1 - a.begin(); }

template <class ExecutionSpace>
class SessionReplay {
 public:
  /// The options outlive it.
  SessionReplay(std::shared_ptr<const Model<ExecutionSpace>> model, const BatchOptions& options)
      : model_(std::move(model)), options_(options) {}

  /// Codes what the store does not have; `known` are the blocks that it has. `replay` alone makes the values itself,
  /// and goes on from what it has in common with the session before; other codecs take them from the source. Gives the
  /// number of tokens that went through the model.
  Result<std::int64_t> save(const ExecutionSpace& space, TokenSpan tokens, const KvSource& source,
                            std::span<const CodedBlockView> known, SessionWriter& writer) {
    const bool alone = std::holds_alternative<RecomputeSpec>(options_.codec.quantizer());
    const std::int64_t step = options_.block_tokens;
    if (!alone || !coder_) {
      SEQKV_ASSIGN(coder_, create(space));
    } else {
      const std::int64_t common = std::min(common_prefix(last_, tokens), coder_->position()) / step * step;
      coder_->rewind(std::min(common, writer.known_tokens()));
    }
    last_.clear();
    const std::int64_t start = coder_->position();
    while (coder_->position() < writer.known_tokens()) {
      SEQKV_TRY(coder_->decode(space, known[static_cast<std::size_t>(coder_->position() / step)]));
    }
    KvCache buffer;
    while (coder_->position() < std::ssize(tokens)) {
      const std::int64_t first = coder_->position();
      const std::int64_t count = std::min(step, std::ssize(tokens) - first);
      ConstKvView values;
      std::vector<std::span<const std::byte>> states;
      if (!alone) {
        SEQKV_ASSIGN(values, source.read(first, count, buffer));
      }
      if (!alone && source.hidden) {
        SEQKV_ASSIGN(states, source.hidden(first, count));
      }
      SEQKV_ASSIGN(const CodedBlock block, coder_->encode(space, tokens.subspan(first, count), values, states));
      SEQKV_TRY(writer.append(block));
    }
    last_.assign(tokens.begin(), tokens.end());
    return std::ssize(tokens) - start;
  }

  /// Appends what the sequence lacks of a session's blocks, which are all of it.
  Result<void> restore(const ExecutionSpace& space, std::span<const CodedBlockView> blocks,
                       Sequence<ExecutionSpace>& sequence) const {
    SEQKV_ASSIGN(auto coder, create(space));
    for (const CodedBlockView& coded : blocks) {
      const std::int64_t there = sequence.tokens() - coder.position();
      SEQKV_ASSIGN(const auto block, coder.decode(space, coded));
      if (there >= block.cache.tokens) continue;
      SEQKV_TRY(sequence.append(space, block.cache.slice(there, block.cache.tokens - there)));
    }
    return {};
  }

 private:
  Result<ReplayCoder<ExecutionSpace>> create(const ExecutionSpace& space) const {
    return ReplayCoder<ExecutionSpace>::create(space, model_, options_.codec, options_.dtype,
                                               {options_.block_tokens, false});
  }

  std::shared_ptr<const Model<ExecutionSpace>> model_;
  const BatchOptions& options_;
  std::optional<ReplayCoder<ExecutionSpace>> coder_;
  std::vector<Token> last_;  ///< the session whose cache the coder has
};

}  // namespace seqkv::store
