// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <fmt/format.h>

#include <map>
#include <optional>

#include "core/try.hpp"
#include "io/file.hpp"
#include "io/read_ahead.hpp"
#include "seqkv/limits.hpp"
#include "store/identity.hpp"
#include "store/store_state.hpp"

namespace seqkv {
namespace {

/// A session that is read block by block.
class SessionReader {
 public:
  SessionReader(const Store::State& state, std::vector<BlockRow> rows, const Digest& root)
      : state_(state), rows_(std::move(rows)), root_(root) {}

  Result<CodedBlockView> read(std::int64_t block, std::vector<std::byte>& buffer) {
    const auto all = static_cast<std::int64_t>(rows_.size());
    ahead_.move_to(block, all, [this](std::int64_t next) {
      // Where it cannot be opened, that is an error when its turn comes.
      if (open_pack(row(next).place.pack)) io::prefetch(file_, row(next).place.offset, row(next).place.bytes);
      return row(next).place.bytes;
    });
    return read_moving(rows_[static_cast<std::size_t>(block)], buffer, parent_of(block));
  }

  /// What blocks are predicted from, in the order of read_reference.
  Result<void> add_references(BlockSource& source) {
    std::map<std::int64_t, std::size_t> numbers;
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      SEQKV_ASSIGN(const std::vector<BlockRow> sources, state_.source_rows(rows_[i].id));
      for (const BlockRow& row : sources) {
        const auto [number, is_new] = numbers.try_emplace(row.id, references_.size());
        if (is_new) {
          references_.push_back(row);
          source.references.push_back({row.position, row.tokens, row.place.bytes, {}});
        }
        source.blocks[i].references.push_back(number->second);
      }
    }
    return {};
  }

  Result<CodedBlockView> read_reference(std::size_t number, std::vector<std::byte>& buffer) {
    return read_moving(references_[number], buffer, {});
  }

  Result<void> check(std::int64_t block, TokenSpan tokens) const {
    if (store::block_identity(parent_of(block), tokens) == row(block).identity) return {};
    return Error(ErrorCode::corrupt, "the block's tokens do not have its identity");
  }

  std::string file(std::int64_t block) const { return store::pack_path(state_.folder, row(block).place.pack).string(); }

 private:
  /// Where gc has moved it, at its new place. `parent`: that it must have.
  Result<CodedBlockView> read_moving(BlockRow& row, std::vector<std::byte>& buffer,
                                     const std::optional<Digest>& parent) {
    auto read = read_at(row, buffer);
    if (!read) {
      const store::Place before = row.place;
      SEQKV_ASSIGN(row.place, state_.current_place(row));
      if (row.place == before) return std::move(read).error();
      SEQKV_ASSIGN(read, read_at(row, buffer));
    }
    if (parent && read->head.parent != *parent) {
      return Error(ErrorCode::corrupt, "the block does not continue the one before it")
          .in_file(store::pack_path(state_.folder, row.place.pack).string());
    }
    if (read->memory == nullptr) return read->block;
    buffer.assign(read->block.begin(), read->block.end());  // decrypted
    return CodedBlockView(buffer);
  }

  /// The block in `buffer`, or decrypted in memory of its own.
  Result<StoredBlock> read_at(const BlockRow& row, std::vector<std::byte>& buffer) {
    if (row.place.bytes < 0 || row.place.bytes > limits::max_coded_block) {
      return Error(ErrorCode::corrupt, "the index gives an impossible size of a block");
    }
    // The file has so many bytes before memory is taken for them.
    SEQKV_ASSIGN(const auto mapped, state_.record_at(row.place));
    if (buffer.size() < mapped.size()) buffer.resize(mapped.size());
    const auto bytes = std::span(buffer).first(mapped.size());
    SEQKV_TRY(open_pack(row.place.pack));
    SEQKV_TRY(io::read_all(file_, store::pack_path(state_.folder, row.place.pack), bytes, row.place.offset));
    return state_.open_record(row, bytes);
  }

  /// Packs are mapped without a descriptor; the one that is read has one here.
  Result<void> open_pack(std::int64_t pack) {
    if (pack == open_) return {};
    SEQKV_ASSIGN(file_, io::open_for_reading(store::pack_path(state_.folder, pack), io::Links::refuse));
    open_ = pack;
    return {};
  }

  const BlockRow& row(std::int64_t block) const { return rows_[static_cast<std::size_t>(block)]; }
  const Digest& parent_of(std::int64_t block) const { return block == 0 ? root_ : row(block - 1).identity; }

  const Store::State& state_;
  std::vector<BlockRow> rows_;
  std::vector<BlockRow> references_;
  Digest root_;
  io::ReadAhead ahead_;
  io::Descriptor file_;
  std::int64_t open_ = 0;  ///< the pack that file_ is of
};

}  // namespace

Result<BlockSource> Store::source(const std::string& name) const {
  SEQKV_ASSIGN(SessionBlocks session, state_->session_blocks(name));
  const store::SessionHead& head = session.session.head;
  BlockSource source;
  source.shape = parameters().shape;
  source.codec = head.codec;
  source.model = parameters().model;
  source.profile = head.profile;
  for (const BlockRow& row : session.blocks) source.blocks.push_back({row.position, row.tokens, row.place.bytes, {}});
  if (source.tokens() != head.tokens) {
    return Error(ErrorCode::unsupported, fmt::format("session '{}' ends inside its last block", name));
  }
  const auto reader = std::make_shared<SessionReader>(*state_, std::move(session.blocks), state_->root_of(head));
  SEQKV_TRY(reader->add_references(source));
  if (!source.references.empty()) {
    source.read_reference = [reader](std::size_t number, std::vector<std::byte>& buffer) {
      return reader->read_reference(number, buffer);
    };
  }
  source.read = [reader](std::int64_t block, std::vector<std::byte>& buffer) { return reader->read(block, buffer); };
  source.check = [reader](std::int64_t block, TokenSpan tokens) { return reader->check(block, tokens); };
  source.file = [reader](std::int64_t block) { return reader->file(block); };
  return source;
}

}  // namespace seqkv
