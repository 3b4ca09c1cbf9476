// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "store/span_sources.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "core/bytes.hpp"
#include "core/guard_memory.hpp"
#include "core/try.hpp"
#include "seqkv/limits.hpp"

namespace seqkv::store {
namespace {

/// Blocks that follow one another and are not predicted.
struct Run {
  std::vector<Token> tokens;
  std::vector<SourceBlock> blocks;
};

/// Puts blocks, parents before children, into runs: each goes on with its parent's, unless another child does.
class RunMaker {
 public:
  explicit RunMaker(const Store::State& state) : state_(state) {}

  bool is_full() const { return tokens_ > limits::max_searched_tokens; }
  std::vector<Run> take() { return std::move(runs_); }

  void add(const BlockRow& row) {
    std::optional<std::size_t> before;
    if (row.parent) {
      const auto parent = run_of_.find(*row.parent);
      if (parent == run_of_.end()) return;  // another tenant's
      before = parent->second;
    }
    const auto block = state_.read(row);
    const bool ours = row.parent || (block && block->head.parent == state_.root);
    if (!ours) return;
    run_of_[row.id] = std::nullopt;
    if (!block || !block->info.references.empty()) return;
    const bool goes_on = before && runs_[*before].blocks.back().id == *row.parent;
    if (!goes_on) runs_.emplace_back();
    const std::size_t number = goes_on ? *before : runs_.size() - 1;
    Run& run = runs_[number];
    run.tokens.insert(run.tokens.end(), block->info.tokens.begin(), block->info.tokens.end());
    run.blocks.push_back({row.id, row.identity});
    run_of_[row.id] = number;
    tokens_ += row.tokens;
  }

 private:
  const Store::State& state_;
  std::vector<Run> runs_;
  std::unordered_map<std::int64_t, std::optional<std::size_t>> run_of_;  ///< of the tenant's blocks, if they are in one
  std::int64_t tokens_ = 0;
};

}  // namespace

/// Nobody can choose tokens whose hashes are alike without the salt.
SpanSources::SpanSources(const Store::State& state, std::int64_t codec)
    : block_tokens_(state.parameters.block_tokens),
      codec_(codec),
      index_(load_le<std::uint64_t>(state.root.bytes.data())) {}

Result<SpanSources> SpanSources::load(const Store::State& state, std::int64_t codec) {
  return guard_memory("for the stored tokens that are searched", [&]() -> Result<SpanSources> {
    SpanSources out(state, codec);
    SEQKV_ASSIGN(Statement query, state.database.prepare(fmt::format(
                                      "SELECT {} FROM blocks WHERE codec = ? ORDER BY position, id", block_columns)));
    SEQKV_ASSIGN(const std::vector<BlockRow> rows, all_rows<BlockRow>(query.bind(1, codec), block_row));
    RunMaker maker(state);
    for (const BlockRow& row : rows) {
      if (!maker.is_full()) maker.add(row);
    }
    for (Run& run : maker.take()) SEQKV_TRY(out.add(run.tokens, std::move(run.blocks)));
    return out;
  });
}

Result<void> SpanSources::add(TokenSpan tokens, std::vector<SourceBlock> blocks) {
  full_ = full_ || index_.tokens() + std::ssize(tokens) > limits::max_searched_tokens;
  if (full_ || std::ssize(tokens) < SpanIndex::window) return {};
  SEQKV_TRY(index_.add(tokens));
  blocks_.push_back(std::move(blocks));
  return {};
}

Result<std::vector<SourcePiece>> SpanSources::find(TokenSpan query) const {
  return guard_memory("to look for stored tokens", [&]() -> Result<std::vector<SourcePiece>> {
    std::vector<SourcePiece> pieces;
    for (const SharedSpan& span : index_.find(query, SpanIndex::least_span, true)) {
      for (std::int64_t at = span.first; at < span.first + span.count;) {
        const std::int64_t source = span.source + at - span.first;
        const std::int64_t count = std::min(
            {span.first + span.count - at, block_tokens_ - at % block_tokens_, block_tokens_ - source % block_tokens_});
        SourcePiece piece{at, count, {}, source / block_tokens_, source % block_tokens_, at - span.first};
        if (span.sequence >= 0) {
          const auto& blocks = blocks_[static_cast<std::size_t>(span.sequence)];
          piece.stored = blocks[static_cast<std::size_t>(piece.own)];
        }
        if (count >= least_piece) pieces.push_back(std::move(piece));
        at += count;
      }
    }
    return pieces;
  });
}

}  // namespace seqkv::store
