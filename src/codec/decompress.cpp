// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <fmt/format.h>

#include <algorithm>

#include "codec/decoder.hpp"
#include "codec/transfer.hpp"
#include "codec/transfer_references.hpp"
#include "core/execution_spaces.hpp"
#include "seqkv/limits.hpp"

namespace seqkv {
namespace {

using codec::Item;
using codec::TransferReferences;
using Block = BlockSource::Block;

/// From coded blocks to a sink.
template <class Space>
class DecompressLane {
 public:
  /// `largest`: at least as large as every block of the source, in tokens and in bytes.
  static Result<std::unique_ptr<DecompressLane>> create(const Space& space, const Codec& codec,
                                                        const BlockSource& source, const KvSink& sink,
                                                        const Block& largest, std::int64_t blocks) {
    SEQKV_ASSIGN(auto decoder, codec::Decoder<Space>::create(space, codec, source.shape));
    auto lane = std::unique_ptr<DecompressLane>(new DecompressLane(space, std::move(decoder), source, sink));
    lane->decoder_.reserve(blocks * largest.tokens, blocks * largest.bytes);
    SEQKV_TRY(lane->references_.reserve(space, codec, source, blocks));
    lane->buffers_.resize(static_cast<std::size_t>(blocks));
    for (auto& buffer : lane->buffers_) buffer.reserve(static_cast<std::size_t>(largest.bytes));
    if (lane->converts()) {
      SEQKV_ASSIGN(lane->converted_, KvCache::create(sink.shape, blocks * largest.tokens));
    }
    lane->bytes_ =
        lane->decoder_.bytes() + lane->converted_.bytes() + blocks * largest.bytes + lane->references_.bytes();
    return lane;
  }

  /// The coded bytes that are read among them.
  std::int64_t bytes() const { return bytes_; }

  Result<void> read(const Item& item) {
    coded_.clear();
    for (std::int64_t i = 0; i < item.count; ++i) {
      SEQKV_ASSIGN(const CodedBlockView block, source_.read(item.first + i, buffers_[i]));
      coded_.push_back(block);
    }
    return references_.read(source_, item);
  }

  Result<void> code(const Item& item) {
    if (auto status = decode(item); !status) {
      Error error = std::move(status).error();
      error.block = item.first + std::max<std::int64_t>(error.block, 0);
      return std::move(error).in_file(source_.file ? source_.file(error.block) : std::string());
    }
    return {};
  }

  Result<void> write(const Item& item) {
    if (item.first == 0) SEQKV_TRY(sink_.reserve());
    for (std::int64_t i = 0; i < item.count; ++i) {
      const Block& block = source_.blocks[item.first + i];
      SEQKV_TRY(sink_.write(block.first_token, ids_[i], converts() ? converted(item, block) : decoder_.values(i)));
    }
    return {};
  }

 private:
  DecompressLane(const Space& space, codec::Decoder<Space> decoder, const BlockSource& source, const KvSink& sink)
      : space_(space), decoder_(std::move(decoder)), source_(source), sink_(sink) {}

  /// Through a buffer of its own.
  bool converts() const { return !sink_.memory && sink_.shape.dtype != source_.shape.dtype; }

  Result<void> decode(const Item& item) {
    SEQKV_ASSIGN(const std::vector<codec::BlockParts> parts, codec::parse_blocks(space_, source_.shape, coded_));
    ids_.clear();
    for (std::int64_t i = 0; i < item.count; ++i) {
      SEQKV_TRY(check_place(parts[i], source_.blocks[item.first + i], i));
      ids_.push_back(codec::unpack_tokens(parts[i]));
      if (!source_.check) continue;
      if (auto good = source_.check(item.first + i, ids_[i]); !good) return std::move(good).error().in_block(i);
    }
    SEQKV_TRY(references_.decode(space_));
    SEQKV_TRY(decoder_.run(parts, references_.blocks()));
    for (std::int64_t i = 0; i < item.count; ++i) {
      const Block& block = source_.blocks[item.first + i];
      if (sink_.memory)
        SEQKV_TRY(copy(space_, decoder_.values(i), sink_.memory->slice(block.first_token, block.tokens)));
      if (converts()) SEQKV_TRY(copy(space_, decoder_.values(i), converted(item, block)));
    }
    return {};
  }

  static Result<void> check_place(const codec::BlockParts& parts, const Block& expected, std::int64_t number) {
    if (parts.first_position == expected.first_token && parts.tokens == expected.tokens) return {};
    return Error(ErrorCode::corrupt,
                 fmt::format("it is for {} tokens from position {}, expected {} from {}", parts.tokens,
                             parts.first_position, expected.tokens, expected.first_token))
        .in_block(number);
  }

  KvView converted(const Item& item, const Block& block) {
    return converted_.view().slice(block.first_token - source_.blocks[item.first].first_token, block.tokens);
  }

  Space space_;
  codec::Decoder<Space> decoder_;
  const BlockSource& source_;
  const KvSink& sink_;
  std::int64_t bytes_ = 0;
  std::vector<std::vector<std::byte>> buffers_;  ///< one a block
  TransferReferences<Space> references_;
  std::vector<CodedBlockView> coded_;
  std::vector<std::vector<Token>> ids_;
  KvCache converted_;
};

Result<void> check_arguments(const BlockSource& source, const KvSink& sink) {
  SEQKV_TRY(source.shape.check());
  KvShape shape = source.shape;
  shape.dtype = sink.shape.dtype;
  if (!(shape == sink.shape) || source.tokens() != sink.tokens || source.blocks.empty()) {
    return Error(ErrorCode::shape_mismatch, fmt::format("{} tokens of {} where {} of {} are wanted", source.tokens(),
                                                        source.shape.describe(), sink.tokens, sink.shape.describe()));
  }
  return {};
}

}  // namespace

template <class ExecutionSpace>
Result<TransferReport> decompress(const ExecutionSpace& space, const BlockSource& source, const KvSink& sink,
                                  const TransferOptions& options) {
  SEQKV_TRY(check_arguments(source, sink));
  SEQKV_ASSIGN(const Codec codec, codec::find_codec(source.codec, source.profile, options.profile));
  Block largest;
  std::int64_t bytes = 0;
  for (const Block& block : source.blocks) {
    largest.tokens = std::max(largest.tokens, block.tokens);
    largest.bytes = std::max(largest.bytes, block.bytes);
    bytes += block.bytes;
  }
  SEQKV_TRY(codec::check_block_size(source.shape, std::max(largest.tokens, limits::min_block_tokens)));
  SEQKV_TRY(check_sizes(codec, source.shape, bytes, source.tokens()));
  return guard_memory("to decode blocks", [&]() -> Result<TransferReport> {
    const auto make = [&]<class Space>(const Space& on, std::int64_t blocks) {
      return DecompressLane<Space>::create(on, codec, source, sink, largest, blocks);
    };
    const auto start = codec::Clock::now();
    const auto progress = [&](const Item& item) {
      const Block& last = source.blocks[item.first + item.count - 1];
      if (options.progress) options.progress(last.first_token + last.tokens, source.tokens());
    };
    SEQKV_ASSIGN(TransferReport report,
                 codec::run_transfer(space, source.shape, largest.tokens,
                                     static_cast<std::int64_t>(source.blocks.size()), options, make, progress));
    report.seconds = codec::seconds_since(start);
    report.bytes_read = bytes;
    report.bytes_written = 2 * sink.shape.layers * codec::raw_bytes(sink.shape, source.tokens());
    return report;
  });
}

#define SEQKV_INSTANTIATE(Space) \
  template Result<TransferReport> decompress(const Space&, const BlockSource&, const KvSink&, const TransferOptions&);
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)
#undef SEQKV_INSTANTIATE

}  // namespace seqkv
