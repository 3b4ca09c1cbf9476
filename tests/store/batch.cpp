// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Batches: manifests, sharing of computation and storage, restart, quality.
#include "seqkv/batch.hpp"

#include <gtest/gtest.h>

#include "seqkv/forward.hpp"
#include "seqkv/frame.hpp"
#include "seqkv/kv_file.hpp"
#include "seqkv/text_file.hpp"
#include "support/caches.hpp"
#include "support/files.hpp"

namespace seqkv {
namespace {

using test::value_of;
using Space = Kokkos::DefaultExecutionSpace;

constexpr std::int64_t block_tokens = 64;

/// More than four blocks.
std::string shared_text() {
  std::string text;
  for (int i = 0; i < 16; ++i) text += "Line " + std::to_string(i) + " of the preamble that all sessions share.\n";
  return text;
}

class BatchTest : public testing::Test {
 protected:
  Space space;
  test::ScratchFolder scratch;
  std::shared_ptr<const Model<Space>> model = value_of(Model<Space>::load(space, SEQKV_MODEL));
  std::filesystem::path store = scratch.path() / "store";

  std::vector<ManifestLine> manifest(const std::vector<std::pair<std::string, std::string>>& sessions) {
    std::vector<ManifestLine> lines;
    for (const auto& [name, text] : sessions) {
      ManifestLine line;
      line.line = static_cast<std::int64_t>(lines.size()) + 1;
      line.session = name;
      line.text = text;
      lines.push_back(line);
    }
    return lines;
  }
  BatchOptions options(const char* spec) {
    BatchOptions batch{value_of(Codec::parse(spec))};
    batch.block_tokens = block_tokens;
    return batch;
  }
  Result<BatchReport> run(const std::vector<ManifestLine>& lines, const BatchOptions& batch) {
    return run_batch(space, model, store, lines, batch);
  }

  /// The cache that the model makes of a text, in bf16, alone.
  KvCache exact(const std::string& text) {
    const auto tokens = value_of(model->encode_document(text));
    auto forward = value_of(Forward<Space>::create(space, model));
    Sequence<Space> sequence(model->config());
    const Forward<Space>::Item item{&sequence, tokens, 0};
    EXPECT_TRUE(forward.run(space, {&item, 1}).ok());
    KvCache cache = value_of(KvCache::create(model->config().kv_shape(DType::bf16), sequence.tokens()));
    EXPECT_TRUE(sequence.read(space, 0, cache.view()).ok());
    return cache;
  }
  KvCache restored(const std::string& session, const char* spec) {
    const Store open = value_of(Store::open(store));
    const auto blocks = value_of(open.blocks(session));
    KvCache cache = value_of(KvCache::create(open.parameters().shape, value_of(open.session(session)).tokens));
    const auto status = decode(space, value_of(Codec::parse(spec)), blocks, cache.view());
    EXPECT_TRUE(status.ok());
    return cache;
  }
};

TEST_F(BatchTest, APrefixIsComputedAndStoredOnce) {
  const std::string preamble = shared_text();
  const auto report =
      value_of(run(manifest({{"a", preamble + "First question."}, {"b", preamble + "Second, longer question?"}}),
                   options("none+lossless")));
  const auto prefix = static_cast<std::int64_t>(value_of(model->encode_document(preamble)).size());
  ASSERT_GT(prefix, 4 * block_tokens);
  const BatchRow& a = report.rows[0];
  const BatchRow& b = report.rows[1];
  // Sessions run in the order of their tokens; whichever came second found the prefix.
  const BatchRow& second = a.new_tokens < b.new_tokens ? a : b;
  const BatchRow& first = a.new_tokens < b.new_tokens ? b : a;
  EXPECT_EQ(first.new_tokens, first.tokens);
  EXPECT_LE(second.new_tokens, second.tokens - prefix + 2);
  EXPECT_EQ(second.shared_tokens, prefix / block_tokens * block_tokens);
  EXPECT_LT(second.new_bytes, first.new_bytes / 2);
  EXPECT_TRUE(test::same_bytes(restored("a", "none+lossless"), exact(preamble + "First question.")));
  EXPECT_TRUE(test::same_bytes(restored("b", "none+lossless"), exact(preamble + "Second, longer question?")));
}

TEST_F(BatchTest, WhatIsStoredDoesNotDependOnTheRunsBefore) {
  const std::string preamble = shared_text();
  value_of(run(manifest({{"a", preamble + "First question."}}), options("none+turboquant:4")));
  const auto report = value_of(run(manifest({{"b", preamble + "Second question."}}), options("none+turboquant:4")));
  EXPECT_EQ(report.rows[0].new_tokens, report.rows[0].tokens);
  EXPECT_GT(report.rows[0].shared_tokens, 0);
  const KvCache in_two_runs = restored("b", "none+turboquant:4");
  std::filesystem::remove_all(store);
  value_of(run(manifest({{"a", preamble + "First question."}, {"b", preamble + "Second question."}}),
               options("none+turboquant:4")));
  EXPECT_TRUE(test::same_bytes(restored("b", "none+turboquant:4"), in_two_runs));
}

TEST_F(BatchTest, APrefixThatDecodesToTheSameBitsIsNotComputedAgain) {
  const std::string preamble = shared_text();
  BatchOptions batch = options("none+lossless");
  batch.dtype = DType::f32;
  value_of(run(manifest({{"a", preamble + "First question."}}), batch));
  const auto report = value_of(run(manifest({{"b", preamble + "Second question."}}), batch));
  EXPECT_LT(report.rows[0].new_tokens, block_tokens + 20);
  const KvCache in_two_runs = restored("b", "none+lossless");
  std::filesystem::remove_all(store);
  value_of(run(manifest({{"b", preamble + "Second question."}}), batch));
  EXPECT_TRUE(test::same_bytes(restored("b", "none+lossless"), in_two_runs));
}

TEST_F(BatchTest, APrefixIsRestoredWhereThatIsWanted) {
  const std::string preamble = shared_text();
  BatchOptions batch = options("none+lossless");
  batch.prefix = PrefixPolicy::restore;
  value_of(run(manifest({{"a", preamble + "First question."}}), batch));
  const auto report = value_of(run(manifest({{"b", preamble + "Second question."}}), batch));
  EXPECT_LT(report.rows[0].new_tokens, block_tokens + 20);
  // The store holds bf16: what follows is computed from rounded values, near the exact ones.
  const KvCache a = restored("b", "none+lossless");
  const KvCache b = exact(preamble + "Second question.");
  const auto shared = report.rows[0].shared_tokens;
  for (std::size_t t = 0; t < a.view().tensors.size(); ++t) {
    EXPECT_EQ(std::memcmp(a.view().slice(0, shared).tensors[t], b.view().slice(0, shared).tensors[t], shared * 64 * 2),
              0);
  }
}

TEST_F(BatchTest, ACacheOfUnknownOriginIsNobodysPrefix) {
  const std::string text = shared_text();
  const auto tokens = value_of(model->encode_document(text));
  const auto length = static_cast<std::int64_t>(tokens.size());
  const KvShape shape = model->config().kv_shape(DType::bf16);
  const KvCache nonsense = value_of(KvCache::create(shape, length));
  const auto path = scratch.path() / "kv.safetensors";
  auto file = value_of(KvFileWriter::create(path, shape, tokens, Digest{}));
  ASSERT_OK(file.write(nonsense.view(), 0));
  ASSERT_OK(file.commit());
  auto lines = manifest({{"computed", text}, {"imported", ""}});
  lines[1].text.reset();
  lines[1].kv = path;
  std::swap(lines[0], lines[1]);
  const auto report = value_of(run(lines, options("none+lossless")));
  for (const BatchRow& row : report.rows) EXPECT_EQ(row.shared_tokens, 0) << row.session;
  EXPECT_TRUE(test::same_bytes(restored("computed", "none+lossless"), exact(text)));
  EXPECT_TRUE(test::same_bytes(restored("imported", "none+lossless"), nonsense));
}

TEST_F(BatchTest, QualityIsThatAgainstTheExactCacheAlsoBehindARestoredPrefix) {
  const std::string preamble = shared_text();
  BatchOptions batch = options("none+turboquant:2");
  batch.measure = 16;
  value_of(run(manifest({{"a", preamble + "First question."}}), batch));
  batch.prefix = PrefixPolicy::restore;
  const auto restored_prefix = value_of(run(manifest({{"b", preamble + "Second question, and more."}}), batch));
  ASSERT_TRUE(restored_prefix.rows[0].quality.has_value());
  std::filesystem::remove_all(store);
  batch.prefix = PrefixPolicy::exact;
  const auto exact_prefix = value_of(run(manifest({{"b", preamble + "Second question, and more."}}), batch));
  // Against a reference that itself goes on from the coded prefix, the first would come out far smaller.
  EXPECT_GT(restored_prefix.rows[0].quality->kl_mean, 0.5 * exact_prefix.rows[0].quality->kl_mean);
}

TEST_F(BatchTest, TheSameRunAgainChangesNothing) {
  const auto lines = manifest({{"a", "Some text."}, {"b", "Some other text."}});
  value_of(run(lines, options("none+turboquant:4")));
  const auto before = value_of(value_of(Store::open(store)).totals());
  const auto report = value_of(run(lines, options("none+turboquant:4")));
  for (const BatchRow& row : report.rows) EXPECT_TRUE(row.stored_before);
  EXPECT_EQ(value_of(value_of(Store::open(store)).totals()).pack_bytes, before.pack_bytes);
  EXPECT_CODE(run(manifest({{"a", "Changed text."}}), options("none+turboquant:4")), ErrorCode::session_differs);
  EXPECT_CODE(run(manifest({{"a", "Some text."}}), options("none+turboquant:3")), ErrorCode::session_differs);
}

TEST_F(BatchTest, MeasuresTheQualityOfWhatItStored) {
  BatchOptions batch = options("none+turboquant:4");
  batch.measure = 32;
  const auto lossy = value_of(run(manifest({{"a", shared_text()}}), batch));
  ASSERT_TRUE(lossy.rows[0].quality.has_value());
  EXPECT_EQ(lossy.rows[0].quality->rows, 32);
  EXPECT_GT(lossy.rows[0].quality->kl_mean, 1e-5);
  EXPECT_LT(lossy.rows[0].quality->kl_mean, 0.05);
  BatchOptions exact_options = options("none+lossless");
  exact_options.measure = 32;
  store = scratch.path() / "exact";
  EXPECT_LT(value_of(run(manifest({{"a", shared_text()}}), exact_options)).rows[0].quality->kl_mean, 1e-4);
}

TEST_F(BatchTest, StopsBetweenSessionsAndGoesOn) {
  const auto lines = manifest({{"a", "One text."}, {"b", "Two texts."}, {"c", "Xylophones."}});
  std::atomic<bool> stop{false};
  BatchOptions batch = options("none+lossless");
  batch.stop = &stop;
  const auto part = value_of(run_batch(space, model, store, lines, batch,
                                       [&stop](std::int64_t, std::int64_t, const BatchRow&) { stop = true; }));
  EXPECT_TRUE(part.interrupted);
  EXPECT_EQ(part.rows.size(), 1U);
  BatchOptions restart = options("none+lossless");
  restart.restart = true;
  const auto rest = value_of(run(lines, restart));
  EXPECT_FALSE(rest.interrupted);
  EXPECT_EQ(rest.rows.size(), 2U);
  EXPECT_EQ(value_of(value_of(Store::open(store)).sessions()).size(), 3U);
}

TEST_F(BatchTest, ABadLineStopsTheBatchBeforeItStarts) {
  auto lines = manifest({{"good", "A text."}, {"bad", "Another."}});
  lines[1].text.reset();
  lines[1].tokens = {1, 2, 4096};
  const auto result = run(lines, options("none+lossless"));
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::token_out_of_range);
  EXPECT_NE(result.error().field.find("bad"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(store / "store.db"));
}

TEST_F(BatchTest, ReadsManifests) {
  const auto file = scratch.write("text.txt", "from a file");
  const auto path = scratch.write("m.jsonl", R"({"session": "a", "text": "x"}
{"session": "b", "text_file": "text.txt"}

{"session": "c", "tokens": [1, 2, 3]}
)");
  const auto lines = value_of(read_manifest(path));
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_EQ(lines[1].text_file, file);
  EXPECT_EQ(lines[2].line, 4);
  EXPECT_EQ(lines[2].tokens, (std::vector<Token>{1, 2, 3}));
}

TEST_F(BatchTest, RefusesBrokenManifestsByLine) {
  const std::vector<std::pair<std::string, ErrorCode>> broken = {
      {"", ErrorCode::empty_input},
      {"{\"session\": \"a\", \"text\": ", ErrorCode::bad_format},
      {"[]", ErrorCode::bad_format},
      {R"({"text": "x"})", ErrorCode::missing_field},
      {R"({"session": "a"})", ErrorCode::bad_format},
      {R"({"session": "a", "text": "x", "tokens": [1]})", ErrorCode::bad_format},
      {R"({"session": "a", "text": ""})", ErrorCode::empty_input},
      {R"({"session": "a", "tokens": []})", ErrorCode::empty_input},
      {R"({"session": "a", "tokens": [-1]})", ErrorCode::token_out_of_range},
      {R"({"session": "a", "tokens": [1.5]})", ErrorCode::token_out_of_range},
      {R"({"session": "a", "texts": "x"})", ErrorCode::bad_format},
      {R"({"session": 3, "text": "x"})", ErrorCode::bad_format},
      {"{\"session\": \"a\", \"text\": \"x\"}\n{\"session\": \"a\", \"text\": \"y\"}", ErrorCode::bad_format},
      {"{\"session\": \"a\", \"text\": \"\xff\"}", ErrorCode::not_utf8},
  };
  for (const auto& [text, code] : broken) {
    const auto lines = read_manifest(scratch.write("m.jsonl", text));
    ASSERT_FALSE(lines.ok()) << text;
    EXPECT_EQ(lines.error().code, code) << text;
    EXPECT_FALSE(lines.error().file.empty());
  }
}

}  // namespace
}  // namespace seqkv
