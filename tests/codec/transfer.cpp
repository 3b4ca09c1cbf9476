// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Transfers: the same bytes for any cores and memory, overlapping or not; the first error in the order of blocks;
// nothing left behind.
#include "seqkv/transfer.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <algorithm>

#include <csignal>
#include <cstring>
#include <new>
#include <stdexcept>

#include "support/caches.hpp"
#include "support/files.hpp"
#include "support/spaces.hpp"

namespace seqkv {
namespace {

using test::value_of;

constexpr std::int64_t tokens_of_block = 16;
constexpr std::int64_t token_count = 20 * tokens_of_block + 5;

struct Means {
  int cores;
  std::int64_t memory;
  bool overlap;
};

/// One block at a time, a few, and all that the cores can use.
std::vector<Means> all_means() {
  std::vector<Means> all;
  for (int cores : {1, 2, 4}) {
    for (std::int64_t memory : {std::int64_t{1}, std::int64_t{100} << 10, std::int64_t{0}}) {
      for (bool overlap : {true, false}) all.push_back({cores, memory, overlap});
    }
  }
  return all;
}

TransferOptions options_of(const Means& means) {
  TransferOptions options;
  options.cores = means.cores;
  options.memory = means.memory;
  options.overlap = means.overlap;
  return options;
}

std::string describe(const Means& means) {
  return std::to_string(means.cores) + " cores, " + std::to_string(means.memory) + " bytes" +
         (means.overlap ? "" : ", no overlap");
}

/// A cache, its KV file and its frame.
template <class Space>
class Transfer : public testing::Test {
 protected:
  Space space;
  test::ScratchFolder scratch;
  KvShape shape = test::shape_of(3, 2, 32, DType::bf16);
  KvCache cache = test::random_cache(shape, token_count, 1);
  std::vector<Token> ids = test::random_tokens(token_count, 2);
  Digest model = Sha256().update("model").finish();

  FrameInfo info_of(const char* spec) const { return {shape, token_count, tokens_of_block, spec, model, {}}; }

  /// As encode and make_frame give it.
  std::vector<std::byte> frame_of(const char* spec) {
    const auto codec = value_of(Codec::parse(spec));
    return value_of(make_frame(info_of(spec), value_of(encode(space, codec, cache.view(), ids, 0, tokens_of_block))));
  }
  std::filesystem::path file(const std::string& name) const { return scratch.path() / name; }

  std::filesystem::path write_kv_file(const ConstKvView& values, const std::string& name) {
    auto writer = value_of(KvFileWriter::create(file(name), values.shape, ids, model));
    value_of(writer.write(values, 0));
    value_of(writer.commit());
    return file(name);
  }
  std::filesystem::path write_frame(std::span<const std::byte> bytes, const std::string& name) {
    return scratch.write(name, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }

  Result<TransferReport> compress_to(const std::string& name, const KvSource& source, const char* spec,
                                     const TransferOptions& options) {
    auto writer = value_of(FrameWriter::create(file(name), info_of(spec)));
    auto report = compress(space, source, writer, options);
    if (report) value_of(writer.commit());
    return report;
  }
  Result<TransferReport> decompress_to(const std::string& name, const BlockSource& source, DType dtype,
                                       const TransferOptions& options) {
    KvShape out = shape;
    out.dtype = dtype;
    auto writer = value_of(KvFileWriter::create(file(name), out, source.tokens(), source.model));
    auto report = decompress(space, source, sink_of(writer), options);
    if (report) value_of(writer.commit());
    return report;
  }
};
TYPED_TEST_SUITE(Transfer, test::Spaces);

std::string text(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TYPED_TEST(Transfer, FramesAreTheSameForAllMeans) {
  const auto path = this->write_kv_file(this->cache.view(), "kv");
  const auto kv = value_of(KvFile::open(path));
  for (const char* spec : {"raw", "none+lossless", "none+turboquant:3", "none+turboquant:2,keys=unrotated"}) {
    const std::string expected = text(this->frame_of(spec));
    for (const Means& means : all_means()) {
      SCOPED_TRACE(std::string(spec) + ": " + describe(means));
      for (const KvSource& source : {source_of(kv), source_of(this->cache.view(), this->ids)}) {
        ASSERT_OK(this->compress_to("frame", source, spec, options_of(means)));
        ASSERT_TRUE(test::read_all(this->file("frame")) == expected);
      }
    }
  }
}

TYPED_TEST(Transfer, KvFilesAreTheSameForAllMeans) {
  for (const char* spec : {"raw", "none+lossless", "none+turboquant:3,keys=unrotated"}) {
    const auto frame_bytes = this->frame_of(spec);
    const auto path = this->write_frame(frame_bytes, "frame");
    const auto in_memory = value_of(FrameReader::parse(frame_bytes, "frame in memory"));
    const auto in_file = value_of(FrameReader::open(path));
    const KvCache decoded = value_of(decode(this->space, in_memory));
    for (DType dtype : {DType::bf16, DType::f32}) {
      KvShape wanted = this->shape;
      wanted.dtype = dtype;
      KvCache converted = value_of(KvCache::create(wanted, token_count));
      ASSERT_OK(copy(decoded.view(), converted.view()));
      const std::string expected = test::read_all(this->write_kv_file(converted.view(), "expected"));
      for (const Means& means : all_means()) {
        SCOPED_TRACE(std::string(spec) + ": " + describe(means));
        for (const FrameReader* frame : {&in_memory, &in_file}) {
          ASSERT_OK(this->decompress_to("kv", source_of(*frame), dtype, options_of(means)));
          ASSERT_TRUE(test::read_all(this->file("kv")) == expected);
        }
      }
    }
  }
}

/// From memory to memory, without a file: as through files, and into any strides.
TYPED_TEST(Transfer, FramesAndCachesInMemory) {
  for (const char* spec : {"raw", "none+lossless", "none+turboquant:3"}) {
    for (const Means& means : all_means()) {
      SCOPED_TRACE(std::string(spec) + ": " + describe(means));
      auto writer = value_of(FrameWriter::create(this->info_of(spec)));
      ASSERT_OK(compress(this->space, source_of(this->cache.view(), this->ids), writer, options_of(means)));
      ASSERT_OK(writer.commit());
      const std::vector<std::byte> bytes = writer.take();
      ASSERT_TRUE(bytes == this->frame_of(spec));

      const auto frame = value_of(FrameReader::parse(bytes, "frame"));
      KvShape wide = this->shape;
      wide.dtype = DType::f32;
      KvCache expected = value_of(KvCache::create(wide, token_count));
      ASSERT_OK(copy(value_of(decode(this->space, frame)).view(), expected.view()));
      // [token][layer and kind][head][component]
      std::vector<float> memory(static_cast<std::size_t>(expected.components()), -1.0F);
      KvView strided{wide, token_count, {}, {}, MemorySpace::host};
      for (std::int64_t i = 0; i < 6; ++i)
        strided.tensors.push_back(reinterpret_cast<std::byte*>(memory.data() + i * 64));
      strided.strides.fill({32, 6 * 64, 1});
      std::vector<Token> got_ids(this->ids.size());
      ASSERT_OK(decompress(this->space, source_of(frame), sink_of(strided, got_ids), options_of(means)));
      EXPECT_TRUE(got_ids == this->ids);
      KvCache got = value_of(KvCache::create(wide, token_count));
      ASSERT_OK(copy(strided, got.view()));
      EXPECT_TRUE(std::ranges::equal(got.raw(), expected.raw()));
    }
  }
}

TYPED_TEST(Transfer, AFrameInMemoryIsWholeOrNotCommitted) {
  auto writer = value_of(FrameWriter::create(this->info_of("raw")));
  EXPECT_CODE(writer.commit(), ErrorCode::invalid_argument);
}

/// Values anywhere in memory: [token][head][component] in one allocation.
TYPED_TEST(Transfer, ValuesOfAnyStrides) {
  std::vector<std::uint16_t> memory(static_cast<std::size_t>(this->cache.components()));
  KvView strided{this->shape, token_count, {}, {}, MemorySpace::host};
  for (std::int64_t i = 0; i < 6; ++i) strided.tensors.push_back(reinterpret_cast<std::byte*>(memory.data() + i * 64));
  strided.strides.fill({32, 6 * 64, 1});
  ASSERT_OK(copy(this->cache.view(), strided));
  for (const char* spec : {"none+lossless", "none+turboquant:3"}) {
    for (const Means& means : all_means()) {
      ASSERT_OK(this->compress_to("frame", source_of(strided, this->ids), spec, options_of(means)));
      EXPECT_TRUE(test::read_all(this->file("frame")) == text(this->frame_of(spec))) << spec << describe(means);
    }
  }
}

TYPED_TEST(Transfer, MemoryIsBounded) {
  const auto kv = value_of(KvFile::open(this->write_kv_file(this->cache.view(), "kv")));
  const auto frame = value_of(FrameReader::open(this->write_frame(this->frame_of("none+lossless"), "frame")));
  const auto both = [&](const TransferOptions& options) {
    return std::array{value_of(this->compress_to("a", source_of(kv), "none+lossless", options)),
                      value_of(this->decompress_to("b", source_of(frame), DType::bf16, options))};
  };
  for (const Means& means : all_means()) {
    const auto least = both(options_of({1, 1, true}));
    const auto reports = both(options_of(means));
    for (std::size_t i = 0; i < reports.size(); ++i) {
      SCOPED_TRACE(describe(means));
      EXPECT_EQ(least[i].blocks_under_way, 1);
      EXPECT_GT(least[i].peak_bytes, 0);
      const std::int64_t bound = means.memory > 0 ? means.memory : means.cores * transfer_memory_per_core;
      EXPECT_LE(reports[i].peak_bytes, std::max(bound, least[i].peak_bytes));
    }
  }
  if (transfers_overlap()) {
    EXPECT_GE(both(options_of({4, 0, true}))[0].blocks_under_way, 4);
  }
}

/// Damages the payload of a block behind its head.
void damage(std::vector<std::byte>& frame, const FrameReader& reader, std::int64_t block) {
  frame[reader.blocks(block, 1).front().data() - frame.data() + 500] ^= std::byte{1};
}

TYPED_TEST(Transfer, TheFirstDamagedBlockIsNamed) {
  auto bytes = this->frame_of("none+lossless");
  const auto frame = value_of(FrameReader::parse(bytes, "the frame"));
  for (std::int64_t block : {19, 12, 11, 3}) {
    damage(bytes, frame, block);
    for (const Means& means : all_means()) {
      SCOPED_TRACE(describe(means));
      const auto report = this->decompress_to("kv", source_of(frame), DType::bf16, options_of(means));
      ASSERT_FALSE(report.ok());
      EXPECT_EQ(report.error().code, ErrorCode::checksum_mismatch) << report.error().describe();
      EXPECT_EQ(report.error().block, block);
      EXPECT_EQ(this->scratch.entries(), 0);
    }
  }
}

TYPED_TEST(Transfer, BlocksAtTheWrongPlaceAreRefused) {
  const auto bytes = this->frame_of("none+lossless");
  const auto frame = value_of(FrameReader::parse(bytes, "the frame"));
  BlockSource source = source_of(frame);
  const auto read = source.read;
  source.read = [read](std::int64_t block, std::vector<std::byte>& buffer) {
    return read(block == 7 ? 8 : block == 8 ? 7 : block, buffer);
  };
  for (const Means& means : all_means()) {
    const auto report = this->decompress_to("kv", source, DType::bf16, options_of(means));
    ASSERT_FALSE(report.ok());
    EXPECT_EQ(report.error().code, ErrorCode::corrupt);
    EXPECT_EQ(report.error().block, 7);
  }
}

TYPED_TEST(Transfer, ExceptionsOfSourcesAreErrors) {
  const auto bytes = this->frame_of("none+lossless");
  const auto frame = value_of(FrameReader::parse(bytes, "the frame"));
  for (const Means& means : all_means()) {
    SCOPED_TRACE(describe(means));
    BlockSource source = source_of(frame);
    source.check = [](std::int64_t block, TokenSpan) -> Result<void> {
      if (block == 5) throw std::bad_alloc();
      return {};
    };
    auto report = this->decompress_to("kv", source, DType::bf16, options_of(means));
    EXPECT_CODE(report, ErrorCode::out_of_memory);
    KvSource values = source_of(this->cache.view(), this->ids);
    values.read = [](std::int64_t, std::int64_t, KvCache&) -> Result<ConstKvView> { throw std::logic_error("a bug"); };
    report = this->compress_to("frame", values, "raw", options_of(means));
    EXPECT_CODE(report, ErrorCode::internal);
    EXPECT_EQ(report.error().block, 0);
    EXPECT_EQ(this->scratch.entries(), 0);
  }
}

TYPED_TEST(Transfer, StopsWhenAsked) {
  const auto bytes = this->frame_of("none+lossless");
  const auto frame = value_of(FrameReader::parse(bytes, "the frame"));
  for (const Means& means : all_means()) {
    SCOPED_TRACE(describe(means));
    std::atomic<bool> stop{false};
    std::int64_t last = 0;
    TransferOptions options = options_of(means);
    options.stop = &stop;
    options.progress = [&](std::int64_t done, std::int64_t all) {
      EXPECT_GT(done, last);
      EXPECT_EQ(all, token_count);
      last = done;
      stop = true;
    };
    const auto report = this->decompress_to("kv", source_of(frame), DType::bf16, options);
    if (last == token_count) {  // all blocks went together
      std::filesystem::remove(this->file("kv"));
      continue;
    }
    EXPECT_CODE(report, ErrorCode::interrupted);
    last = 0;
    EXPECT_CODE(this->compress_to("frame", source_of(this->cache.view(), this->ids), "raw", options),
                ErrorCode::interrupted);
    EXPECT_EQ(this->scratch.entries(), 0);
  }
}

/// As for a disk that is full at once.
TYPED_TEST(Transfer, WritesThatFail) {
  const auto bytes = this->frame_of("none+lossless");
  const auto frame = value_of(FrameReader::parse(bytes, "the frame"));
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit small = before;
  small.rlim_cur = 30'000;
  for (const Means& means : all_means()) {
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
    const auto decoded = this->decompress_to("kv", source_of(frame), DType::bf16, options_of(means));
    const auto coded = this->compress_to("frame", source_of(this->cache.view(), this->ids), "raw", options_of(means));
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
    SCOPED_TRACE(describe(means));
    EXPECT_CODE(decoded, ErrorCode::io);
    EXPECT_EQ(decoded.error().file, this->file("kv").string());
    EXPECT_CODE(coded, ErrorCode::io);
    EXPECT_EQ(coded.error().file, this->file("frame").string());
    EXPECT_EQ(this->scratch.entries(), 0);
  }
}

TYPED_TEST(Transfer, WhatDoesNotBelongTogetherIsRefused) {
  const auto bytes = this->frame_of("none+lossless");
  const auto frame = value_of(FrameReader::parse(bytes, "the frame"));
  const KvCache other = test::random_cache(test::shape_of(3, 1, 32, DType::bf16), token_count, 3);
  EXPECT_CODE(this->compress_to("frame", source_of(other.view(), this->ids), "raw", {}), ErrorCode::shape_mismatch);
  EXPECT_CODE(this->compress_to("frame", source_of(this->cache.view(), TokenSpan(this->ids).first(9)), "raw", {}),
              ErrorCode::shape_mismatch);
  BlockSource source = source_of(frame);
  source.blocks.pop_back();
  auto file = value_of(KvFileWriter::create(this->file("kv"), this->shape, token_count, {}));
  EXPECT_CODE(decompress(this->space, source, sink_of(file)), ErrorCode::shape_mismatch);
  source = source_of(frame);
  source.codec = "none+turboquant:5";
  for (auto& block : source.blocks) block.bytes = 10;  // a promise of more values than so few bytes can hold
  EXPECT_CODE(decompress(this->space, source, sink_of(file)), ErrorCode::corrupt);
  source.codec = "linear+nothing";
  EXPECT_CODE(decompress(this->space, source, sink_of(file)), ErrorCode::unsupported);
}

TYPED_TEST(Transfer, IdsThatAKvFileCannotHold) {
  this->ids[40] = 0x80000000U;
  const auto bytes = this->frame_of("none+lossless");
  const auto frame = value_of(FrameReader::parse(bytes, "the frame"));
  const auto report = this->decompress_to("kv", source_of(frame), DType::bf16, {});
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().code, ErrorCode::token_out_of_range);
  EXPECT_NE(report.error().message.find("entry 40"), std::string::npos);
}

}  // namespace
}  // namespace seqkv
