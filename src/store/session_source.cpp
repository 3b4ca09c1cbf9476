// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <fmt/format.h>

#include "core/try.hpp"
#include "io/file.hpp"
#include "io/read_ahead.hpp"
#include "store/identity.hpp"
#include "store/store_state.hpp"

namespace seqkv {
namespace {

/// A session that is read block by block.
class SessionReader {
 public:
  SessionReader(const Store::State& state, std::vector<BlockRow> rows, const Digest& lone_root)
      : state_(state), rows_(std::move(rows)), lone_root_(lone_root) {}

  Result<CodedBlockView> read(std::int64_t block, std::vector<std::byte>& buffer) {
    const auto all = static_cast<std::int64_t>(rows_.size());
    ahead_.move_to(block, all, [this](std::int64_t next) {
      // Where it cannot be opened, that is an error when its turn comes.
      if (open_pack(row(next).pack)) io::prefetch(file_, row(next).offset, row(next).bytes);
      return row(next).bytes;
    });
    SEQKV_ASSIGN(const store::BlockRecord record, state_.find_record(row(block)));
    const bool lone = block == 0 && record.head.parent == lone_root_;
    if (!lone && record.head.parent != parent_of(block)) {
      return Error(ErrorCode::corrupt, "the block does not continue the one before it").in_file(file(block));
    }
    const std::size_t bytes = record.block.size();
    if (buffer.size() < bytes) buffer.resize(bytes);
    SEQKV_TRY(open_pack(row(block).pack));
    const std::int64_t end = row(block).offset + row(block).bytes;  // of the record, and of the block in it
    SEQKV_TRY(io::read_all(file_, file(block), std::span(buffer).first(bytes), end - static_cast<std::int64_t>(bytes)));
    return CodedBlockView(buffer).first(bytes);
  }

  Result<void> check(std::int64_t block, TokenSpan tokens) const {
    const Digest& identity = row(block).identity;
    if (store::block_identity(parent_of(block), tokens) == identity) return {};
    if (block == 0 && store::block_identity(lone_root_, tokens) == identity) return {};
    return Error(ErrorCode::corrupt, "the block's tokens do not have its identity");
  }

  std::string file(std::int64_t block) const { return store::pack_path(state_.folder, row(block).pack).string(); }

 private:
  /// Packs are mapped without a descriptor; the one that is read has one here.
  Result<void> open_pack(std::int64_t pack) {
    if (pack == open_) return {};
    SEQKV_ASSIGN(file_, io::open_for_reading(store::pack_path(state_.folder, pack)));
    open_ = pack;
    return {};
  }

  const BlockRow& row(std::int64_t block) const { return rows_[static_cast<std::size_t>(block)]; }
  const Digest& parent_of(std::int64_t block) const { return block == 0 ? state_.root : row(block - 1).identity; }

  const Store::State& state_;
  std::vector<BlockRow> rows_;
  Digest lone_root_;
  io::ReadAhead ahead_;
  io::Descriptor file_;
  std::int64_t open_ = 0;  ///< the pack that file_ is of
};

}  // namespace

Result<BlockSource> Store::source(const std::string& name) const {
  SEQKV_ASSIGN(const SessionInfo info, session(name));
  SEQKV_ASSIGN(std::vector<BlockRow> rows, state_->session_rows(name));
  BlockSource source{parameters().shape, info.codec, parameters().model, info.profile, {}, {}, {}, {}};
  for (const BlockRow& row : rows) source.blocks.push_back({row.position, row.tokens, row.bytes});
  const auto reader =
      std::make_shared<SessionReader>(*state_, std::move(rows), store::lone_root_identity(state_->root, name));
  source.read = [reader](std::int64_t block, std::vector<std::byte>& buffer) { return reader->read(block, buffer); };
  source.check = [reader](std::int64_t block, TokenSpan tokens) { return reader->check(block, tokens); };
  source.file = [reader](std::int64_t block) { return reader->file(block); };
  return source;
}

}  // namespace seqkv
