// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The tokens of a session, block after block, by what a model expects behind those before (docs/replay.md). Its
/// forward pass leaves the cache of the tokens behind, to the bit that of a prefill.
#pragma once

#include <optional>
#include <vector>

#include "core/bytes.hpp"
#include "core/range_coder.hpp"
#include "core/try.hpp"
#include "replay/next_token.hpp"

namespace seqkv::replay {

template <class ExecutionSpace>
class BlockTokens {
 public:
  /// `chunk`: tokens of a block at most. `coded`: encode and decode will be called, not only read.
  static Result<BlockTokens> create(const ExecutionSpace& space, std::shared_ptr<const Model<ExecutionSpace>> model,
                                    std::int64_t chunk, bool coded) {
    const std::int64_t vocabulary = model->config().vocabulary;
    SEQKV_ASSIGN(auto forward, Forward<ExecutionSpace>::create(space, std::move(model), chunk));
    BlockTokens out(std::move(forward));
    if (coded) out.next_.reserve(chunk, vocabulary);
    return out;
  }

  /// The cache of all tokens so far.
  const Sequence<ExecutionSpace>& sequence() const { return sequence_; }

  /// Tokens that are known. No coding after this.
  Result<void> read(const ExecutionSpace& space, TokenSpan tokens) { return run(space, tokens, 0); }
  /// Forgets all but the first `tokens`. No coding after this.
  void truncate(std::int64_t tokens) noexcept { sequence_.truncate(tokens); }

  /// The first token of a session stands in front, in four bytes.
  Result<std::vector<std::byte>> encode(const ExecutionSpace& space, TokenSpan tokens) {
    ByteWriter out;
    RangeEncoder coder;
    const auto rows = std::ssize(tokens);
    if (sequence_.tokens() == 0) {
      out.put(std::uint32_t{tokens[0]});
    } else {
      put(space, coder, tokens.first(1));  // by the last row of the block before
    }
    SEQKV_TRY(run(space, tokens, rows));
    if (rows > 1) {
      next_.prepare(space, rows - 1, output_.logits);
      put_prepared(space, coder, tokens.subspan(1));
    }
    keep_last_row(space, rows);
    out.put(std::move(coder).finish());
    return std::move(out).take();
  }

  /// Errors: corrupt.
  Result<std::vector<Token>> decode(const ExecutionSpace& space, std::span<const std::byte> coded, std::int64_t count) {
    std::vector<Token> tokens;
    if (sequence_.tokens() == 0) {
      if (coded.size() < sizeof(Token)) return Error(ErrorCode::corrupt, "its first token is missing");
      tokens.push_back(load_le<Token>(coded.data()));
      coded = coded.subspan(sizeof(Token));
      if (tokens[0] >= forward_.model().config().vocabulary) {
        return Error(ErrorCode::corrupt, "its first token is not in the vocabulary");
      }
      SEQKV_TRY(read_one(space, tokens[0]));
    }
    RangeDecoder coder(coded);
    while (std::ssize(tokens) < count) {
      if (coder.overran()) return Error(ErrorCode::corrupt, "its payload of tokens is too short");
      next_.prepare(space, 1, output_.logits);
      next_[0].start = static_cast<std::uint32_t>(coder.point(next_.total(0)));
      next_.tokens(space);
      coder.take(next_.interval(0));
      tokens.push_back(next_[0].token);
      SEQKV_TRY(read_one(space, tokens.back()));
    }
    if (!coder.at_end()) return Error(ErrorCode::corrupt, "its payload of tokens is too long");
    return tokens;
  }

 private:
  explicit BlockTokens(Forward<ExecutionSpace> forward)
      : forward_(std::move(forward)), sequence_(forward_.model().config()) {}

  Result<void> run(const ExecutionSpace& space, TokenSpan tokens, std::int64_t rows) {
    const typename Forward<ExecutionSpace>::Item item{&sequence_, tokens, rows};
    return forward_.run(space, {&item, 1}, rows > 0 ? &output_ : nullptr);
  }
  Result<void> read_one(const ExecutionSpace& space, Token token) { return run(space, {&token, 1}, 1); }

  void put(const ExecutionSpace& space, RangeEncoder& coder, TokenSpan token) {
    next_.prepare(space, 1, output_.logits);
    put_prepared(space, coder, token);
  }
  void put_prepared(const ExecutionSpace& space, RangeEncoder& coder, TokenSpan tokens) {
    for (std::int64_t row = 0; row < std::ssize(tokens); ++row) next_[row].token = tokens[row];
    next_.intervals(space);
    for (std::int64_t row = 0; row < std::ssize(tokens); ++row) coder.put(next_.interval(row), next_.total(row));
  }

  /// What is expected behind a block comes to the front, where single rows are.
  void keep_last_row(const ExecutionSpace& space, std::int64_t rows) {
    if (rows == 1) return;
    Kokkos::deep_copy(space, Kokkos::subview(output_.logits, 0, Kokkos::ALL),
                      Kokkos::subview(output_.logits, rows - 1, Kokkos::ALL));
  }

  Forward<ExecutionSpace> forward_;
  Sequence<ExecutionSpace> sequence_;
  typename Forward<ExecutionSpace>::Output output_;
  NextToken<ExecutionSpace> next_;
};

}  // namespace seqkv::replay
