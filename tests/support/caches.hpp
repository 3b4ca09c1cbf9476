// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Caches and tokens for tests.
#pragma once

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "core/float16.hpp"
#include "seqkv/kv.hpp"
#include "support/result.hpp"

namespace seqkv::test {

/// A shape with an ordinary rotary embedding.
inline KvShape shape_of(std::int64_t layers, std::int64_t kv_heads, std::int64_t head_dim, DType dtype) {
  KvShape shape{layers, kv_heads, head_dim, {}, dtype};
  shape.rope.dim = head_dim;
  return shape;
}

/// Numbers like those of caches: normal, each channel with a scale of its own.
inline KvCache random_cache(const KvShape& shape, std::int64_t tokens, unsigned seed) {
  KvCache cache = value_of(KvCache::create(shape, tokens));
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> scale(static_cast<std::size_t>(shape.head_dim));
  for (float& s : scale) s = std::exp(normal(random));
  for (std::byte* tensor : cache.view().tensors) {
    for (std::int64_t i = 0; i < shape.kv_heads * tokens * shape.head_dim; ++i) {
      store_from_float(tensor, shape.dtype, i, normal(random) * scale[static_cast<std::size_t>(i % shape.head_dim)]);
    }
  }
  return cache;
}

/// Every bit random: NaN, infinities and subnormals included.
inline KvCache random_bits_cache(const KvShape& shape, std::int64_t tokens, unsigned seed) {
  KvCache cache = value_of(KvCache::create(shape, tokens));
  std::mt19937 random(seed);
  for (std::int64_t i = 0; i < cache.bytes(); ++i) cache.view().tensors[0][i] = static_cast<std::byte>(random());
  return cache;
}

inline std::vector<Token> random_tokens(std::int64_t count, unsigned seed, Token vocabulary = 4096) {
  std::mt19937 random(seed);
  std::uniform_int_distribution<Token> token(0, vocabulary - 1);
  std::vector<Token> tokens(static_cast<std::size_t>(count));
  for (Token& t : tokens) t = token(random);
  return tokens;
}

inline bool same_bytes(const KvCache& a, const KvCache& b) {
  return a.raw().size() == b.raw().size() && std::memcmp(a.raw().data(), b.raw().data(), a.raw().size()) == 0;
}

}  // namespace seqkv::test
