// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "codec/predict/reuse.hpp"

#include <algorithm>
#include <cstdlib>

#include "core/float16.hpp"
#include "core/rope_table.hpp"
#include "core/try.hpp"

namespace seqkv::codec {

Result<void> reuse(const ConstKvView& from, const KvView& to, std::int64_t moved) {
  SEQKV_TRY(copy(from, to));
  const std::vector<float> frequencies = inverse_frequencies(to.shape.rope);
  const std::size_t pairs = frequencies.size();
  std::vector<float> cosine(pairs);
  std::vector<float> sine(pairs);
  rope_angles(frequencies, std::abs(moved), cosine.data(), sine.data());
  const KvStrides& strides = to.strides[0];
  for (std::int64_t layer = 0; layer < to.shape.layers; ++layer) {
    std::byte* keys = to.tensor(layer, Kind::key);
    for (std::int64_t i = 0; i < to.shape.kv_heads * to.tokens; ++i) {
      const std::int64_t at = i / to.tokens * strides.head + i % to.tokens * strides.token;
      for (std::size_t p = 0; p < pairs; ++p) {
        const std::int64_t one = at + static_cast<std::int64_t>(p) * strides.component;
        const std::int64_t two = at + static_cast<std::int64_t>(p + pairs) * strides.component;
        const float a = load_as_float(keys, to.shape.dtype, one);
        const float b = load_as_float(keys, to.shape.dtype, two);
        const float s = moved < 0 ? -sine[p] : sine[p];
        store_from_float(keys, to.shape.dtype, one, a * cosine[p] - b * s);
        store_from_float(keys, to.shape.dtype, two, b * cosine[p] + a * s);
      }
    }
  }
  return {};
}

Result<KvCache> with_reused(const ConstKvView& kv, std::int64_t first_position, const References& references,
                            std::int64_t recode) {
  SEQKV_ASSIGN(KvCache out, KvCache::create(kv.shape, kv.tokens));
  SEQKV_TRY(copy(kv, out.view()));
  for (const ReferenceSpan& span : references.spans) {
    const std::int64_t skip = std::clamp<std::int64_t>(recode - span.before, 0, span.count);
    const std::int64_t count = span.count - skip;
    if (count == 0) continue;
    const ReferenceBlock& block = references.blocks[static_cast<std::size_t>(span.block)];
    const std::int64_t moved = first_position + span.first - (block.first_position + span.source);
    SEQKV_TRY(reuse(block.values.slice(span.source + skip, count), out.view().slice(span.first + skip, count), moved));
  }
  return out;
}

}  // namespace seqkv::codec
