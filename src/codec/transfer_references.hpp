// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// What the blocks of a lane are predicted from: read and decoded before them.
#pragma once

#include <algorithm>
#include <optional>
#include <vector>

#include "codec/decoder.hpp"
#include "codec/lanes.hpp"
#include "core/execution_spaces.hpp"

namespace seqkv::codec {

template <class Space>
class TransferReferences {
 public:
  /// Buffers for items of so many blocks; nothing where the source has no references.
  Result<void> reserve(const Space& space, const Codec& codec, const BlockSource& source, std::int64_t blocks) {
    std::size_t most = 0;
    for (const BlockSource::Block& block : source.blocks) most = std::max(most, block.references.size());
    if (most == 0) return {};
    SEQKV_ASSIGN(decoder_, Decoder<Space>::create(space, codec, source.shape));
    std::int64_t tokens = 0;
    std::int64_t bytes = 0;
    for (const BlockSource::Block& block : source.references) {
      tokens = std::max(tokens, block.tokens);
      bytes = std::max(bytes, block.bytes);
    }
    const std::size_t all = std::min(most * static_cast<std::size_t>(blocks), source.references.size());
    decoder_->reserve(tokens, bytes);
    buffers_.resize(all);
    values_.resize(all);
    for (std::size_t i = 0; i < all; ++i) {
      buffers_[i].reserve(static_cast<std::size_t>(bytes));
      SEQKV_ASSIGN(values_[i], KvCache::create(source.shape, tokens));
      bytes_ += bytes + values_[i].bytes();
    }
    bytes_ += decoder_->bytes();
    return {};
  }

  std::int64_t bytes() const { return bytes_; }

  /// Each once for the blocks of an item.
  Result<void> read(const BlockSource& source, const Item& item) {
    coded_.clear();
    std::vector<std::size_t> numbers;
    for (std::int64_t i = item.first; i < item.first + item.count; ++i) {
      for (const std::size_t number : source.blocks[static_cast<std::size_t>(i)].references) {
        if (std::ranges::find(numbers, number) != numbers.end()) continue;
        SEQKV_ASSIGN(const CodedBlockView block, source.read_reference(number, buffers_[numbers.size()]));
        coded_.push_back(block);
        numbers.push_back(number);
      }
    }
    return {};
  }

  Result<void> decode(const Space& space) {
    blocks_.clear();
    for (std::size_t i = 0; i < coded_.size(); ++i) {
      auto status = decode(space, i);
      if (status) continue;
      Error error = std::move(status).error();
      error.message = "what it is predicted from: " + error.message;
      return std::move(error).in_block(0);
    }
    return {};
  }

  std::span<const ReferenceBlock> blocks() const { return blocks_; }

 private:
  Result<void> decode(const Space& space, std::size_t number) {
    SEQKV_ASSIGN(const std::vector<BlockParts> parts,
                 parse_blocks(space, values_[number].shape(), std::span(coded_).subspan(number, 1)));
    const BlockParts& block = parts.front();
    if (block.tokens > values_[number].tokens()) {
      return Error(ErrorCode::corrupt, "it has more tokens than the source says");
    }
    SEQKV_TRY(decoder_->run(parts));
    const KvView values = values_[number].view().slice(0, block.tokens);
    SEQKV_TRY(copy(space, decoder_->values(0), values));
    blocks_.push_back({block.hash, block.first_position, values});
    return {};
  }

  std::optional<Decoder<Space>> decoder_;
  std::vector<std::vector<std::byte>> buffers_;
  std::vector<KvCache> values_;
  std::vector<CodedBlockView> coded_;
  std::vector<ReferenceBlock> blocks_;
  std::int64_t bytes_ = 0;
};

}  // namespace seqkv::codec
