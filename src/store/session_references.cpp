// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// What the blocks of a session that is being saved can be predicted from.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "core/try.hpp"
#include "seqkv/limits.hpp"
#include "store/session_writer.hpp"

namespace seqkv {

using store::SourcePiece;

Result<void> SessionWriter::State::find_pieces() {
  const bool shares = head.nonce.is_zero();
  SEQKV_ASSIGN(const std::optional<std::int64_t> id, store.codec_id(codec));
  if (shares && id && (store.sources == nullptr || store.sources->codec() != *id || store.sources->is_stale())) {
    store.sources.reset();  // before the next one takes as much memory
    SEQKV_ASSIGN(store::SpanSources loaded, store::SpanSources::load(store, *id));
    store.sources = std::make_shared<store::SpanSources>(std::move(loaded));
  }
  const auto first = static_cast<std::size_t>(known_blocks * store.parameters.block_tokens);
  const TokenSpan rest = first < tokens.size() ? TokenSpan(tokens).subspan(first) : TokenSpan();
  SEQKV_ASSIGN(pieces, (shares && id ? *store.sources : store::SpanSources::none(store)).find(rest));
  for (SourcePiece& piece : *pieces) piece.first += static_cast<std::int64_t>(first);
  return {};
}

std::optional<StoredReference> SessionWriter::State::read(const SourcePiece& piece) {
  store::NamedSource name;
  BlockRow row;
  if (piece.stored) {
    name.block = *piece.stored;
    const auto found = store.row(name.block.id);
    if (!found || found->identity != name.block.identity) {
      store.sources->note_gone();
      return std::nullopt;
    }
    row = *found;
  } else {
    name.own = static_cast<std::size_t>(piece.own);
    row = appended[*name.own].row;
    name.block.identity = row.identity;
  }
  // What cannot be read is not predicted from; verify tells of it.
  auto block = store.read(row);
  const auto expected =
      TokenSpan(tokens).subspan(static_cast<std::size_t>(piece.first), static_cast<std::size_t>(piece.count));
  if (!block || !block->info.references.empty() || piece.source + piece.count > block->info.count ||
      !std::ranges::equal(
          expected, TokenSpan(block->info.tokens).subspan(static_cast<std::size_t>(piece.source), expected.size()))) {
    return std::nullopt;
  }
  named[block->info.hash] = name;
  return StoredReference{block->info.hash, row.position, row.tokens, block->block, std::move(block->memory)};
}

Result<NextReferences> SessionWriter::references(std::int64_t tokens) {
  State& state = *state_;
  const std::int64_t size = state.store.parameters.block_tokens;
  const std::int64_t start = this->tokens();
  const std::int64_t known = state.known_blocks * size;
  NextReferences out{std::clamp<std::int64_t>(tokens, 0, std::ssize(state.tokens) - start), {}, {}};
  // What other processes write has no rows yet, and what a rank finds would depend on how many there are.
  if (!state.codec.uses_references() || state.store.epoch != nullptr) return out;
  if (!state.pieces) SEQKV_TRY(state.find_pieces());
  const auto behind = [](const SourcePiece& piece) { return piece.first; };
  std::map<std::pair<bool, std::int64_t>, std::optional<std::size_t>> numbers;  // of what has been read
  std::set<std::size_t> of_block;
  std::int64_t block = -1;
  for (auto piece = std::ranges::lower_bound(*state.pieces, start, {}, behind);
       piece != state.pieces->end() && piece->first < start + out.tokens; ++piece) {
    if (piece->first / size != block) of_block.clear();
    block = piece->first / size;
    if (!piece->stored && known + piece->own * size >= start) {
      // What is among these tokens has to be coded first.
      if (known + piece->own * size < block * size) out.tokens = block * size - start;
      continue;
    }
    const std::pair key{piece->stored.has_value(), piece->stored ? piece->stored->id : piece->own};
    auto [number, is_new] = numbers.try_emplace(key);
    if (is_new) {
      if (auto source = state.read(*piece)) {
        number->second = out.blocks.size();
        out.blocks.push_back(std::move(*source));
      }
    }
    const bool fits =
        number->second && (of_block.contains(*number->second) || std::ssize(of_block) < limits::max_block_sources);
    if (!fits) continue;
    of_block.insert(*number->second);
    out.spans.push_back(
        {piece->first - start, piece->count, static_cast<std::int64_t>(*number->second), piece->source, piece->before});
  }
  return out;
}

Result<void> SessionWriter::State::resolve(const CodedBlockInfo& info, store::AppendedBlock& block) const {
  std::set<std::uint64_t> hashes;
  for (const BlockReference& reference : info.references) hashes.insert(reference.hash);
  for (const std::uint64_t hash : hashes) {
    const auto found = named.find(hash);
    if (found == named.end()) {
      return Error(ErrorCode::missing_reference,
                   fmt::format("the block for position {} is predicted from one that the store did not give, of the "
                               "hash {:016x}",
                               info.first_position, hash));
    }
    block.sources.push_back(found->second);
  }
  if (std::ssize(block.sources) <= limits::max_block_sources) return {};
  return Error(ErrorCode::limit_exceeded, fmt::format("a block that is predicted from {} others", hashes.size()));
}

void SessionWriter::State::offer_sources() {
  if (store.sources == nullptr || store.sources->codec() != codec_id || !head.nonce.is_zero()) return;
  std::vector<Token> run;
  std::vector<store::SourceBlock> of_run;
  const auto finish = [&]() {
    // Without memory for it they are not found; nothing else depends on it.
    if (!of_run.empty() && !store.sources->add(run, std::move(of_run))) store.sources.reset();
    run.clear();
    of_run.clear();
  };
  for (const store::AppendedBlock& block : appended) {
    if (!block.sources.empty()) {
      finish();
      continue;
    }
    const auto first = tokens.begin() + block.row.position;
    run.insert(run.end(), first, first + block.row.tokens);
    of_run.push_back({block.row.id, block.row.identity});
    if (store.sources == nullptr) return;
  }
  if (store.sources != nullptr) finish();
}

}  // namespace seqkv
