// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// A store in a scratch folder, and sessions for it.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <Kokkos_Core.hpp>
#include <algorithm>

#include "core/float16.hpp"
#include "seqkv/store.hpp"
#include "support/caches.hpp"
#include "support/files.hpp"

namespace seqkv::test {

using Space = Kokkos::DefaultExecutionSpace;

constexpr std::int64_t block_tokens = 16;

class StoreTest : public testing::Test {
 protected:
  ScratchFolder scratch;
  std::filesystem::path folder = scratch.path() / "store";
  StoreParameters parameters{shape_of(2, 1, 16, DType::bf16), Sha256().update("model").finish(), block_tokens};
  Codec codec = value_of(Codec::parse("none+lossless"));

  StoreAccess access;

  Store writer() { return value_of(Store::open_for_writing(folder, parameters, access)); }
  Store reader() { return value_of(Store::open(folder, access)); }

  /// A cache whose values at a token depend on the tokens up to it only, as a model's would.
  KvCache cache_of(TokenSpan tokens) const {
    KvCache cache = value_of(KvCache::create(parameters.shape, static_cast<std::int64_t>(tokens.size())));
    std::uint32_t state = 1;
    for (std::size_t t = 0; t < tokens.size(); ++t) {
      state = state * 1664525U + tokens[t] + 1013904223U;
      for (std::size_t tensor = 0; tensor < cache.view().tensors.size(); ++tensor) {
        for (int i = 0; i < 16; ++i) {
          const auto value = static_cast<float>((state >> (i % 16)) % 97 + tensor) / 7.0F;
          store_from_float(cache.view().tensors[tensor], DType::bf16, static_cast<std::int64_t>(t) * 16 + i, value);
        }
      }
    }
    return cache;
  }

  /// Saves a session; returns how many blocks the store had already.
  std::int64_t save(Store& store, const std::string& name, const std::vector<Token>& tokens,
                    const SaveOptions& options = {}) {
    auto session = value_of(store.begin(name, tokens, codec, options));
    const std::int64_t known = session.known_tokens();
    const KvCache cache = cache_of(tokens);
    const auto rest = static_cast<std::int64_t>(tokens.size()) - known;
    for (const CodedBlock& block : value_of(encode(Space(), codec, cache.view().slice(known, rest),
                                                   TokenSpan(tokens).subspan(known), known, block_tokens))) {
      const auto status = session.append(block);
      EXPECT_TRUE(status.ok()) << status.error().describe();
    }
    const auto status = session.commit();
    EXPECT_TRUE(status.ok()) << status.error().describe();
    return session.known_blocks();
  }

  std::filesystem::path pack(int number) const { return folder / "packs" / fmt::format("{:08}.pack", number); }
  std::size_t packs() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(folder / "packs"), {}));
  }
  std::vector<std::string> names(const Store& store) {
    std::vector<std::string> out;
    for (const SessionInfo& session : value_of(store.sessions())) out.push_back(session.name);
    return out;
  }
  /// Everything verify looks at is as it should be.
  void expect_sound(const Store& store) {
    const auto report = value_of(store.verify());
    for (const std::string& problem : report.problems) ADD_FAILURE() << problem;
    for (const std::string& name : report.broken_sessions) ADD_FAILURE() << name << " is broken";
  }

  void expect_restores(const Store& store, const std::string& name, const std::vector<Token>& tokens) {
    const auto blocks = value_of(store.blocks(name));
    KvCache out = value_of(KvCache::create(parameters.shape, blocks.tokens()));
    ASSERT_OK(decode(Space(), codec, blocks, out.view()));
    KvCache cut = value_of(KvCache::create(parameters.shape, static_cast<std::int64_t>(tokens.size())));
    ASSERT_OK(copy(out.view().slice(0, cut.tokens()), cut.view()));
    EXPECT_TRUE(same_bytes(cut, cache_of(tokens))) << name;
    EXPECT_EQ(value_of(store.tokens(name)), tokens);
    if (blocks.tokens() > cut.tokens()) return;  // no source for a session that ends inside a block
    ASSERT_OK(restore(store, name));
    const KvFile file = value_of(KvFile::open(restored));
    EXPECT_TRUE(std::ranges::equal(file.tokens(), tokens)) << name;
    ASSERT_OK(file.read(0, out.view()));
    EXPECT_TRUE(same_bytes(out, cache_of(tokens))) << name;
    EXPECT_EQ(file.model(), parameters.model);
  }

  std::filesystem::path restored = scratch.path() / "restored";

  /// Through a source, block by block.
  Result<TransferReport> restore(const Store& store, const std::string& name) {
    auto source = store.source(name);
    if (!source) return std::move(source).error();
    auto writer = value_of(KvFileWriter::create(restored, parameters.shape, source->tokens(), source->model));
    TransferOptions options;
    options.cores = 2;
    options.profile = codec.profile();
    auto report = decompress(Space(), *source, sink_of(writer), options);
    if (report) value_of(writer.commit());
    return report;
  }
};

inline std::vector<Token> joined(std::vector<Token> a, const std::vector<Token>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

}  // namespace seqkv::test
