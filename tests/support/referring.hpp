// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Stores whose sessions have the same tokens in several contexts, by linear+ref+ecsq.
#pragma once

#include <cmath>
#include <map>

#include "seqkv/session.hpp"
#include "support/profiles.hpp"
#include "support/stores.hpp"

namespace seqkv::test {

class ReferringStoreTest : public StoreTest {
 protected:
  static constexpr std::int64_t size = 64;  ///< of blocks
  const std::vector<Token> document = random_tokens(300, 1, 50);

  ReferringStoreTest() {
    parameters.shape = shape_of(3, 1, 16, DType::bf16);
    parameters.shape.rope.dim = 0;  // the cache below knows no positions
    parameters.block_tokens = size;
    codec = codec_of({.references = true});
  }
  Codec codec_of(const MadeUp& how, const std::string& spec = "linear+ref+ecsq:step=0.125") {
    const auto path = made_up_profile(parameters.shape, how).write(scratch.path() / "profile");
    return value_of(value_of(Codec::parse(spec)).with_profile(value_of(Profile::load(path))));
  }

  /// The document behind a preamble of its own.
  std::vector<Token> session(unsigned preamble, std::int64_t count = 70) const {
    return joined(random_tokens(count, 100 + preamble, 50), document);
  }

  /// Numbers follow from the token, and a little from what is before it.
  KvCache context_of(TokenSpan tokens) const {
    KvCache cache = value_of(KvCache::create(parameters.shape, std::ssize(tokens)));
    const auto noise = [](std::uint32_t x) {
      x = (x ^ (x >> 15U)) * 0x2c1b3c6dU;
      x = (x ^ (x >> 12U)) * 0x297a2d39U;
      return static_cast<float>(x >> 8U) / 8388608.0F - 1.0F;
    };
    std::uint32_t before = 1;
    for (std::size_t t = 0; t < tokens.size(); ++t) {
      before = before * 1664525U + tokens[t] + 1013904223U;
      for (std::uint32_t tensor = 0; tensor < 6; ++tensor) {
        for (std::uint32_t i = 0; i < 16; ++i) {
          const float own = noise(tokens[t] * 977U + tensor * 131U + i * 7919U);
          const float context = noise(before + tensor * 65537U + i * 257U);
          store_from_float(cache.view().tensors[tensor], DType::bf16, static_cast<std::int64_t>(t * 16 + i),
                           3.0F * own + 0.05F * context);
        }
      }
    }
    return cache;
  }

  template <class ExecutionSpace = Space>
  Result<SaveReport> put(Store& store, const std::string& name, const std::vector<Token>& tokens,
                         const SaveOptions& options = {}, const ExecutionSpace& space = {}) {
    return seqkv::save(space, store, name, tokens, codec, context_of(tokens).view(), options);
  }

  template <class ExecutionSpace = Space>
  Result<KvCache> get(const Store& store, const std::string& name, const ExecutionSpace& space = {}) const {
    auto info = store.session(name);
    if (!info) return std::move(info).error();
    KvCache out = value_of(KvCache::create(parameters.shape, info->tokens));
    auto status = seqkv::restore(space, store, name, {}, out.view());
    if (!status) return std::move(status).error();
    return out;
  }

  /// No number is further away than the codec's error is.
  bool is_near(const KvCache& cache, TokenSpan tokens) const {
    const KvCache exact = context_of(tokens);
    if (cache.tokens() != exact.tokens()) return false;
    for (std::size_t tensor = 0; tensor < 6; ++tensor) {
      for (std::int64_t i = 0; i < 16 * exact.tokens(); ++i) {
        const float a = load_as_float(cache.view().tensors[tensor], DType::bf16, i);
        const float b = load_as_float(exact.view().tensors[tensor], DType::bf16, i);
        if (!(std::abs(a - b) < 1.0F)) return false;
      }
    }
    return true;
  }

  /// How many of a session's blocks are predicted from others.
  std::int64_t referring(const Store& store, const std::string& name) const {
    std::int64_t count = 0;
    const StoredBlocks blocks = value_of(store.blocks(name));
    for (std::size_t i = 0; i < blocks.size(); ++i) count += blocks.references_of(i).empty() ? 0 : 1;
    return count;
  }
};

}  // namespace seqkv::test
