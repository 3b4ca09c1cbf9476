// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "codec/predict/profile.hpp"
#include "core/execution_spaces.hpp"
#include "core/try.hpp"
#include "seqkv/limits.hpp"
#include "seqkv/replay.hpp"

namespace seqkv {
namespace {

using Clock = std::chrono::steady_clock;

/// Adds the time of its life to a sum.
class Stopwatch {
 public:
  explicit Stopwatch(double& sum) : sum_(sum) {}
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;
  ~Stopwatch() { sum_ += std::chrono::duration<double>(Clock::now() - start_).count(); }

 private:
  double& sum_;
  Clock::time_point start_ = Clock::now();
};

Result<void> check_stop(const TransferOptions& options) {
  if (options.stop == nullptr || !options.stop->load()) return {};
  return Error(ErrorCode::interrupted, "the transfer was stopped");
}

/// Whether the model is there, and is the one that coded.
template <class ExecutionSpace>
Result<void> check_model(const std::shared_ptr<const Model<ExecutionSpace>>& model, const Codec& codec,
                         const Digest& coded_with) {
  if (model == nullptr) {
    return Error(ErrorCode::invalid_argument, fmt::format("codec {} needs the model", codec.spec()));
  }
  const Digest given = model->fingerprint().combined();
  if (given == coded_with) return {};
  return Error(ErrorCode::wrong_model, coded_with.is_zero()
                                           ? std::string("no model is named")
                                           : fmt::format("model {}... is named, given is {}...",
                                                         coded_with.hex().substr(0, 16), given.hex().substr(0, 16)));
}

/// Whether a cache is of the model, and not longer than its positions.
template <class ExecutionSpace>
Result<void> check_size(const Model<ExecutionSpace>& model, const KvShape& shape, std::int64_t tokens) {
  KvShape expected = model.config().kv_shape(shape.dtype);
  expected.rope = shape.rope;  // a file may not know it
  if (!(shape == expected)) {
    return Error(ErrorCode::shape_mismatch,
                 fmt::format("a cache of {} for a model of {}", shape.describe(), expected.describe()));
  }
  if (tokens <= model.config().max_positions) return {};
  return Error(ErrorCode::limit_exceeded,
               fmt::format("{} tokens, the model has {} positions", tokens, model.config().max_positions));
}

}  // namespace

template <class ExecutionSpace>
Result<TransferReport> compress(const ExecutionSpace& space, const std::shared_ptr<const Model<ExecutionSpace>>& model,
                                const KvSource& source, FrameWriter& frame, const TransferOptions& options) {
  const FrameInfo& info = frame.info();
  SEQKV_ASSIGN(const Codec named, Codec::parse(info.codec));
  if (!named.needs_model()) return compress(space, source, frame, options);
  SEQKV_ASSIGN(const Codec codec, named.with_profile(options.profile));
  SEQKV_TRY(check_model(model, codec, info.model));
  SEQKV_TRY(check_size(*model, source.shape, std::ssize(source.tokens)));
  if (!(source.shape == info.shape) || std::ssize(source.tokens) != info.tokens) {
    return Error(ErrorCode::shape_mismatch, "frame and source differ");
  }
  SEQKV_ASSIGN(auto coder, ReplayCoder<ExecutionSpace>::create(space, model, codec, info.shape.dtype,
                                                               {std::min(info.block_tokens, info.tokens), true}));
  TransferReport report;
  const std::int64_t before = frame.bytes();
  {
    const Stopwatch all(report.seconds);
    KvCache buffer;
    for (std::int64_t first = 0; first < info.tokens; first += info.block_tokens) {
      SEQKV_TRY(check_stop(options));
      const std::int64_t count = std::min(info.block_tokens, info.tokens - first);
      std::vector<std::span<const std::byte>> hidden;
      ConstKvView values;
      {
        const Stopwatch reading(report.read_seconds);
        SEQKV_ASSIGN(values, source.read(first, count, buffer));
        if (source.hidden) {
          SEQKV_ASSIGN(hidden, source.hidden(first, count));
        }
      }
      CodedBlock block;
      {
        const Stopwatch coding(report.code_seconds);
        SEQKV_ASSIGN(block, coder.encode(space, source.tokens.subspan(first, count), values, hidden));
      }
      const Stopwatch writing(report.write_seconds);
      SEQKV_TRY(frame.append(block));
      if (options.progress) options.progress(first + count, info.tokens);
    }
  }
  report.bytes_read =
      source.shape.components_per_token() * info.tokens * static_cast<std::int64_t>(size_of(source.shape.dtype));
  report.bytes_written = frame.bytes() - before;
  report.cores = space.concurrency();
  report.not_given_back = coder.report().different;
  return report;
}

template <class ExecutionSpace>
Result<TransferReport> decompress(const ExecutionSpace& space,
                                  const std::shared_ptr<const Model<ExecutionSpace>>& model, const BlockSource& source,
                                  const KvSink& sink, const TransferOptions& options) {
  SEQKV_ASSIGN(const Codec codec, codec::find_codec(source.codec, source.profile, options.profile));
  if (!codec.needs_model()) return decompress(space, source, sink, options);
  SEQKV_TRY(check_model(model, codec, source.model));
  SEQKV_TRY(check_size(*model, source.shape, source.tokens()));
  KvShape wanted = source.shape;
  wanted.dtype = sink.shape.dtype;
  if (!(wanted == sink.shape) || source.tokens() != sink.tokens || source.blocks.empty()) {
    return Error(ErrorCode::shape_mismatch, "sink and source differ");
  }
  const auto largest = std::ranges::max(source.blocks, {}, &BlockSource::Block::tokens).tokens;
  SEQKV_ASSIGN(auto coder, ReplayCoder<ExecutionSpace>::create(space, model, codec, source.shape.dtype,
                                                               {largest, source.tokens_are_coded}));
  TransferReport report;
  report.cores = space.concurrency();
  const Stopwatch all(report.seconds);
  SEQKV_TRY(sink.reserve());
  std::vector<std::byte> buffer;
  KvCache converted;
  for (std::size_t i = 0; i < source.blocks.size(); ++i) {
    const auto number = static_cast<std::int64_t>(i);
    const auto in_block = [&](const Error& error) {
      Error out = error;
      out.block = number;
      return std::move(out).in_file(source.file ? source.file(number) : std::string());
    };
    SEQKV_TRY(check_stop(options));
    CodedBlockView bytes;
    {
      const Stopwatch reading(report.read_seconds);
      SEQKV_ASSIGN(bytes, source.read(number, buffer));
      report.bytes_read += std::ssize(bytes);
    }
    const Stopwatch working(report.code_seconds);
    auto block = coder.decode(space, bytes);
    if (!block) return in_block(block.error());
    if (block->cache.tokens != source.blocks[i].tokens) {
      return in_block(Error(ErrorCode::corrupt, "its number of tokens is not the one expected"));
    }
    if (source.check) {
      if (auto good = source.check(number, block->tokens); !good) return in_block(good.error());
    }
    ConstKvView values = block->cache;
    values.shape.rope = source.shape.rope;
    if (sink.memory) {
      SEQKV_TRY(copy(space, values, sink.memory->slice(source.blocks[i].first_token, values.tokens)));
    } else if (wanted.dtype != source.shape.dtype) {
      SEQKV_ASSIGN(converted, KvCache::create(sink.shape, values.tokens));
      SEQKV_TRY(copy(space, values, converted.view()));
      values = std::as_const(converted).view();
    }
    SEQKV_TRY(sink.write(source.blocks[i].first_token, block->tokens, values));
    report.bytes_written +=
        wanted.components_per_token() * values.tokens * static_cast<std::int64_t>(size_of(wanted.dtype));
    if (options.progress) options.progress(source.blocks[i].first_token + values.tokens, source.tokens());
  }
  return report;
}

template <class ExecutionSpace>
Result<KvCache> decode(const ExecutionSpace& space, const std::shared_ptr<const Model<ExecutionSpace>>& model,
                       const FrameReader& frame, const std::shared_ptr<const Profile>& profile) {
  const FrameInfo& info = frame.info();
  SEQKV_ASSIGN(const Codec codec, codec::find_codec(info.codec, info.profile, profile));
  if (!codec.needs_model()) return decode(space, frame, profile);
  SEQKV_TRY(check_model(model, codec, info.model));
  SEQKV_TRY(check_size(*model, info.shape, info.tokens));
  SEQKV_ASSIGN(auto coder, ReplayCoder<ExecutionSpace>::create(space, model, codec, info.shape.dtype,
                                                               {std::min(info.block_tokens, info.tokens), true}));
  SEQKV_ASSIGN(KvCache cache, KvCache::create(info.shape, info.tokens));
  for (std::int64_t i = 0; i < info.blocks(); ++i) {
    auto block = coder.decode(space, frame.blocks(i, 1)[0]);
    if (!block) return std::move(Error(block.error())).in_block(i);
    const std::int64_t first = i * info.block_tokens;
    if (block->cache.tokens != std::min(info.block_tokens, info.tokens - first)) {
      return Error(ErrorCode::corrupt, "its number of tokens is not the one expected").in_block(i);
    }
    block->cache.shape.rope = info.shape.rope;
    SEQKV_TRY(copy(space, block->cache, cache.view().slice(first, block->cache.tokens)));
  }
  return cache;
}

#define SEQKV_INSTANTIATE(Space)                                                                                      \
  template Result<TransferReport> compress(const Space&, const std::shared_ptr<const Model<Space>>&, const KvSource&, \
                                           FrameWriter&, const TransferOptions&);                                     \
  template Result<TransferReport> decompress(const Space&, const std::shared_ptr<const Model<Space>>&,                \
                                             const BlockSource&, const KvSink&, const TransferOptions&);              \
  template Result<KvCache> decode(const Space&, const std::shared_ptr<const Model<Space>>&, const FrameReader&,       \
                                  const std::shared_ptr<const Profile>&);
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)
#undef SEQKV_INSTANTIATE

}  // namespace seqkv
