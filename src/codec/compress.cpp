// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <fmt/format.h>

#include "codec/encoder.hpp"
#include "codec/transfer.hpp"
#include "core/execution_spaces.hpp"

namespace seqkv {
namespace {

using codec::Item;

/// From values to a frame.
template <class Space>
class CompressLane {
 public:
  CompressLane(codec::Encoder<Space> encoder, const KvSource& source, FrameWriter& frame, std::int64_t blocks)
      : encoder_(std::move(encoder)), source_(source), frame_(frame), block_tokens_(frame.info().block_tokens) {
    encoder_.reserve(blocks, std::min(block_tokens_, tokens()));
    values_.resize(static_cast<std::size_t>(blocks));
    buffers_.resize(static_cast<std::size_t>(blocks));
    coded_.resize(static_cast<std::size_t>(blocks));
    const std::int64_t raw = 2 * source.shape.layers * codec::raw_bytes(source.shape, block_tokens_);
    const std::int64_t most = raw + codec::most_overhead(source.shape, block_tokens_);
    for (CodedBlock& block : coded_) block.reserve(static_cast<std::size_t>(most));
    bytes_ = encoder_.bytes() + blocks * (raw + most);
  }

  /// The values that are read among them.
  std::int64_t bytes() const { return bytes_; }

  Result<void> read(const Item& item) {
    for (std::int64_t i = 0; i < item.count; ++i) {
      SEQKV_ASSIGN(values_[i], source_.read(first(item.first + i), count(item.first + i, 1), buffers_[i]));
    }
    return {};
  }

  Result<void> code(const Item& item) {
    const auto count = static_cast<std::size_t>(item.count);
    encoder_.run(std::span<const ConstKvView>(values_).first(count),
                 source_.tokens.subspan(first(item.first), this->count(item.first, item.count)), first(item.first),
                 std::span(coded_).first(count));
    return {};
  }

  Result<void> write(const Item& item) {
    for (std::int64_t i = 0; i < item.count; ++i) SEQKV_TRY(frame_.append(coded_[i]));
    return {};
  }

 private:
  std::int64_t tokens() const { return static_cast<std::int64_t>(source_.tokens.size()); }
  std::int64_t first(std::int64_t block) const { return block * block_tokens_; }
  std::int64_t count(std::int64_t block, std::int64_t blocks) const {
    return std::min(blocks * block_tokens_, tokens() - first(block));
  }

  codec::Encoder<Space> encoder_;
  const KvSource& source_;
  FrameWriter& frame_;
  std::int64_t block_tokens_;
  std::int64_t bytes_ = 0;
  std::vector<ConstKvView> values_;  ///< one a block, and so are these
  std::vector<KvCache> buffers_;
  std::vector<CodedBlock> coded_;
};

Result<void> check_arguments(const KvSource& source, const FrameInfo& info) {
  SEQKV_TRY(source.shape.check());
  const auto tokens = static_cast<std::int64_t>(source.tokens.size());
  if (!(source.shape == info.shape) || tokens != info.tokens) {
    return Error(ErrorCode::shape_mismatch, fmt::format("{} tokens of {} for a frame of {} of {}", tokens,
                                                        source.shape.describe(), info.tokens, info.shape.describe()));
  }
  return codec::check_block_size(info.shape, info.block_tokens);
}

}  // namespace

template <class ExecutionSpace>
Result<TransferReport> compress(const ExecutionSpace& space, const KvSource& source, FrameWriter& frame,
                                const TransferOptions& options) {
  const FrameInfo& info = frame.info();
  SEQKV_TRY(check_arguments(source, info));
  SEQKV_ASSIGN(const Codec named, Codec::parse(info.codec));
  const Codec codec = named.with_profile(options.profile);
  return guard_memory("to code blocks", [&]() -> Result<TransferReport> {
    const auto make = [&]<class Space>(const Space& on,
                                       std::int64_t blocks) -> Result<std::unique_ptr<CompressLane<Space>>> {
      SEQKV_ASSIGN(auto encoder, codec::Encoder<Space>::create(on, codec, source.shape));
      return std::make_unique<CompressLane<Space>>(std::move(encoder), source, frame, blocks);
    };
    const auto progress = [&](const Item& item) {
      const std::int64_t done = std::min((item.first + item.count) * info.block_tokens, info.tokens);
      if (options.progress) options.progress(done, info.tokens);
    };
    const auto start = codec::Clock::now();
    const std::int64_t before = frame.bytes();
    SEQKV_ASSIGN(TransferReport report,
                 codec::run_transfer(space, source.shape, info.block_tokens, info.blocks(), options, make, progress));
    report.bytes_read = 2 * info.shape.layers * codec::raw_bytes(info.shape, info.tokens);
    report.bytes_written = frame.bytes() - before;
    report.seconds = codec::seconds_since(start);
    return report;
  });
}

#define SEQKV_INSTANTIATE(Space) \
  template Result<TransferReport> compress(const Space&, const KvSource&, FrameWriter&, const TransferOptions&);
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)

}  // namespace seqkv
