// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Coding a whole cache, block by block.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <vector>

#include "codec/encoder.hpp"
#include "codec/transfer.hpp"

namespace seqkv::codec {

/// Takes coded blocks in order.
using Sink = std::function<Result<void>(const CodedBlock&)>;

/// From values to coded blocks.
template <class Space>
class CompressLane {
 public:
  CompressLane(Encoder<Space> encoder, const KvSource& source, std::int64_t block_tokens, const Sink& sink,
               std::int64_t blocks)
      : encoder_(std::move(encoder)), source_(source), sink_(sink), block_tokens_(block_tokens) {
    encoder_.reserve(blocks, std::min(block_tokens_, tokens()));
    values_.resize(static_cast<std::size_t>(blocks));
    buffers_.resize(static_cast<std::size_t>(blocks));
    coded_.resize(static_cast<std::size_t>(blocks));
    const std::int64_t raw = 2 * source.shape.layers * raw_bytes(source.shape, block_tokens_);
    const std::int64_t most = raw + most_overhead(source.shape, block_tokens_);
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
    for (std::int64_t i = 0; i < item.count; ++i) SEQKV_TRY(sink_(coded_[i]));
    return {};
  }

 private:
  std::int64_t tokens() const { return static_cast<std::int64_t>(source_.tokens.size()); }
  std::int64_t first(std::int64_t block) const { return block * block_tokens_; }
  std::int64_t count(std::int64_t block, std::int64_t blocks) const {
    return std::min(blocks * block_tokens_, tokens() - first(block));
  }

  Encoder<Space> encoder_;
  const KvSource& source_;
  const Sink& sink_;
  std::int64_t block_tokens_;
  std::int64_t bytes_ = 0;
  std::vector<ConstKvView> values_;  ///< one a block, and so are these
  std::vector<KvCache> buffers_;
  std::vector<CodedBlock> coded_;
};

/// Codes a source in blocks. Errors: those of Encoder::create, of the source and of the sink.
template <class ExecutionSpace>
Result<TransferReport> run_compression(const ExecutionSpace& space, const Codec& codec, const KvSource& source,
                                       std::int64_t block_tokens, const Sink& sink, const TransferOptions& options) {
  const auto tokens = static_cast<std::int64_t>(source.tokens.size());
  const auto make = [&]<class Space>(const Space& on,
                                     std::int64_t blocks) -> Result<std::unique_ptr<CompressLane<Space>>> {
    SEQKV_ASSIGN(auto encoder, Encoder<Space>::create(on, codec, source.shape));
    return std::make_unique<CompressLane<Space>>(std::move(encoder), source, block_tokens, sink, blocks);
  };
  const auto progress = [&](const Item& item) {
    if (options.progress) options.progress(std::min((item.first + item.count) * block_tokens, tokens), tokens);
  };
  return run_transfer(space, source.shape, block_tokens, divide_up(tokens, block_tokens), options, make, progress);
}

}  // namespace seqkv::codec
