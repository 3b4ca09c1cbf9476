// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// What tests of codecs with a profile begin with.
#pragma once

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "seqkv/codec.hpp"
#include "support/caches.hpp"
#include "support/files.hpp"
#include "support/profiles.hpp"
#include "support/spaces.hpp"

namespace seqkv::test {

inline std::vector<CodedBlockView> views(const std::vector<CodedBlock>& blocks) {
  return {blocks.begin(), blocks.end()};
}

template <class Space>
class Predicted : public testing::Test {
 protected:
  Space space;
  ScratchFolder scratch;

  /// With a profile that is made up.
  Codec codec_of(const KvShape& shape, const std::string& spec, const MadeUp& how = {}) {
    const auto path = made_up_profile(shape, how).write(scratch.path() / "profile");
    return value_of(value_of(Codec::parse(spec)).with_profile(value_of(Profile::load(path))));
  }
  std::vector<CodedBlock> code(const Codec& codec, const ConstKvView& kv, TokenSpan ids, std::int64_t first,
                               std::int64_t block_tokens) {
    return value_of(encode(space, codec, kv, ids, first, block_tokens));
  }
  KvCache restore(const Codec& codec, const KvShape& shape, const std::vector<CodedBlock>& blocks,
                  std::int64_t tokens) {
    KvCache out = value_of(KvCache::create(shape, tokens));
    const auto status = decode(space, codec, views(blocks), out.view());
    if (!status) throw std::runtime_error(status.error().describe());
    return out;
  }
};

}  // namespace seqkv::test
