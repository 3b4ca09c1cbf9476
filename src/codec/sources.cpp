// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <algorithm>

#include "backends/cpu/pipeline.hpp"
#include "core/try.hpp"
#include "io/read_ahead.hpp"
#include "seqkv/transfer.hpp"

namespace seqkv {

bool transfers_overlap() noexcept { return cpu::pipeline_overlaps(); }

KvSource source_of(const KvFile& file) {
  const KvShape& shape = file.shape();
  const std::int64_t row = shape.components_per_token() * static_cast<std::int64_t>(size_of(shape.dtype));
  const auto read = [&file, window = io::read_ahead_bytes / row, asked = std::int64_t{0}](
                        std::int64_t first, std::int64_t count, KvCache& buffer) mutable -> Result<ConstKvView> {
    if (first == 0) asked = 0;
    const std::int64_t until = first + count + std::max(count, window);
    file.prefetch(asked, until - asked);
    asked = std::max(asked, until);
    if (buffer.tokens() != count) {
      SEQKV_ASSIGN(buffer, KvCache::create(file.shape(), count));
    }
    SEQKV_TRY(file.read(first, buffer.view()));
    return ConstKvView(buffer.view());
  };
  KvSource source{shape, file.tokens(), read, {}};
  if (!file.hidden().empty()) {
    source.hidden = [&file](std::int64_t first, std::int64_t count) -> Result<std::vector<std::span<const std::byte>>> {
      std::vector<std::span<const std::byte>> rows;
      for (const std::span<const std::byte> layer : file.hidden()) {
        const std::size_t width = layer.size() / file.tokens().size();
        rows.push_back(layer.subspan(static_cast<std::size_t>(first) * width, static_cast<std::size_t>(count) * width));
      }
      return rows;
    };
  }
  return source;
}

KvSource source_of(const ConstKvView& kv, TokenSpan tokens) {
  const auto read = [kv](std::int64_t first, std::int64_t count, KvCache&) -> Result<ConstKvView> {
    return kv.slice(first, count);
  };
  return {kv.shape, tokens, read, {}};
}

KvSink sink_of(KvFileWriter& file) {
  KvSink sink{file.shape(), file.tokens(), [&file]() { return file.reserve(); }, {}, {}};
  sink.write = [&file](std::int64_t first, TokenSpan ids, const ConstKvView& values) -> Result<void> {
    SEQKV_TRY(file.write_tokens(ids, first));
    return file.write(values, first);
  };
  return sink;
}

KvSink sink_of(const KvView& kv, std::span<Token> ids) {
  const auto write = [ids](std::int64_t first, TokenSpan some, const ConstKvView&) -> Result<void> {
    std::ranges::copy(some, ids.begin() + first);
    return {};
  };
  return {kv.shape, kv.tokens, []() { return Result<void>(); }, write, kv};
}

BlockSource source_of(const FrameReader& frame) {
  const FrameInfo& info = frame.info();
  BlockSource source;
  source.shape = info.shape;
  source.codec = info.codec;
  source.model = info.model;
  source.profile = info.profile;
  source.tokens_are_coded = true;
  for (const CodedBlockView& block : frame.blocks(0, info.blocks())) {
    const auto first = static_cast<std::int64_t>(source.blocks.size()) * info.block_tokens;
    source.blocks.push_back(
        {first, std::min(info.block_tokens, info.tokens - first), static_cast<std::int64_t>(block.size()), {}});
  }
  source.read = [&frame, ahead = io::ReadAhead()](std::int64_t block, std::vector<std::byte>& buffer) mutable {
    ahead.move_to(block, frame.info().blocks(), [&frame](std::int64_t next) {
      frame.prefetch(next);
      return static_cast<std::int64_t>(frame.blocks(next, 1).front().size());
    });
    return frame.read(block, buffer);
  };
  return source;
}

}  // namespace seqkv
