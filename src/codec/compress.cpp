// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <fmt/format.h>

#include "codec/compress_lane.hpp"
#include "core/execution_spaces.hpp"
#include "core/guard_memory.hpp"

namespace seqkv {
namespace {

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
  SEQKV_ASSIGN(const Codec codec, named.with_profile(options.profile));
  return guard_memory("to code blocks", [&]() -> Result<TransferReport> {
    const codec::Sink append = [&frame](const CodedBlock& block) { return frame.append(block); };
    const auto start = codec::Clock::now();
    const std::int64_t before = frame.bytes();
    SEQKV_ASSIGN(TransferReport report,
                 codec::run_compression(space, codec, source, info.block_tokens, append, options));
    report.bytes_read = 2 * info.shape.layers * codec::raw_bytes(info.shape, info.tokens);
    report.bytes_written = frame.bytes() - before;
    report.seconds = codec::seconds_since(start);
    return report;
  });
}

#define SEQKV_INSTANTIATE(Space) \
  template Result<TransferReport> compress(const Space&, const KvSource&, FrameWriter&, const TransferOptions&);
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)
#undef SEQKV_INSTANTIATE

}  // namespace seqkv
