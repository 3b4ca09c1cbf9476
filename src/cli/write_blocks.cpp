// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "cli/write_blocks.hpp"

#include "seqkv/kv_file.hpp"

namespace seqkv::cli {

Result<void> write_blocks(const Options& options, const CodedCache& cache, DType dtype,
                          const std::filesystem::path& out) {
  const Space space;
  auto codec = Codec::parse_stored(cache.codec);
  if (!codec) return std::move(codec).error();
  const auto all = static_cast<std::int64_t>(cache.tokens.size());
  if (auto status = check_sizes(*codec, cache.shape, cache.blocks, all); !status) return status;
  KvShape shape = cache.shape;
  shape.dtype = dtype;
  auto writer = KvFileWriter::create(out, shape, cache.tokens, cache.model);
  if (!writer) return std::move(writer).error();
  constexpr std::size_t blocks_at_a_time = 16;
  Progress progress(options, "restore");
  std::int64_t first = 0;
  for (std::size_t block = 0; block < cache.blocks.size(); block += blocks_at_a_time) {
    const auto some = cache.blocks.subspan(block, std::min(blocks_at_a_time, cache.blocks.size() - block));
    const std::int64_t count = std::min(static_cast<std::int64_t>(some.size()) * cache.block_tokens, all - first);
    auto values = KvCache::create(cache.shape, count);
    if (!values) return std::move(values).error();
    auto status = decode(space, *codec, some, values->view());
    if (!status) {
      Error error = std::move(status).error();
      if (error.block >= 0) error.block += static_cast<std::int64_t>(block);
      return error;
    }
    auto converted = KvCache::create(shape, count);
    if (!converted) return std::move(converted).error();
    if (auto copied = copy(values->view(), converted->view()); !copied) return copied;
    if (auto written = writer->write(converted->view(), first); !written) return written;
    first += count;
    progress.update(first, all);
  }
  return writer->commit();
}

}  // namespace seqkv::cli
