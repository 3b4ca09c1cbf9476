// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// 64 sessions of 2,048 tokens, 8 documents behind 8 preambles each: bytes without sharing, with exact prefixes shared,
// and with references to what is stored already, found by SpanIndex (docs/reference.md). Prints JSON; needs SEQKV_TEXT,
// SEQKV_PROFILE (calibrated with --references), SEQKV_MODEL; SEQKV_STEP (1).
#include <fmt/format.h>

#include <map>

#include "reference/contexts.hpp"

namespace seqkv::bench {
namespace {

constexpr std::int64_t documents_in_all = 8;
constexpr std::int64_t session_tokens = 2048;
constexpr std::int64_t preamble_tokens = 400;  // beside the token that all begin with
constexpr std::int64_t document_tokens = session_tokens - preamble_tokens - 1;

/// What the store has of a session: the blocks that others can be predicted from.
struct Stored {
  std::vector<std::optional<ReferenceBlock>> blocks;
  KvCache values;
};

struct Sums {
  std::int64_t alone = 0;      ///< every session by itself
  std::int64_t exact = 0;      ///< whole blocks of common prefixes once
  std::int64_t fresh = 0;      ///< with references: blocks that use none
  std::int64_t referring = 0;  ///< and those that do
  std::int64_t referring_blocks = 0;
  std::int64_t prefix_blocks = 0;
  QualityMeter linear, reference, bare;
};

class Batch {
 public:
  explicit Batch(const std::string& step)
      : linear_(codec_of("linear+ecsq:step=" + step)), with_(codec_of("linear+ref+ecsq:step=" + step)) {}

  void add(const Session& session, const Session* other) {
    const KvShape& shape = session.cache.shape();
    const auto blocks = runner_.code(linear_, session, 0, session_tokens);
    sums_.alone += bytes_of(blocks);
    const auto known = static_cast<std::int64_t>(common_prefix(session.tokens) / block_tokens);
    sums_.exact += bytes_of(std::span(blocks).subspan(static_cast<std::size_t>(known)));
    sums_.prefix_blocks += known;

    // Blocks of the prefix are there; the others are coded one by one.
    Stored stored;
    stored.values = value_of(KvCache::create(shape, session_tokens));
    const auto spans = index_.find(session.tokens);
    for (std::int64_t block = 0; block < session_tokens / block_tokens; ++block) {
      const std::int64_t first = block * block_tokens;
      const KvView values = stored.values.view().slice(first, block_tokens);
      const References references = block < known ? References{} : references_of(spans, first);
      const auto coded = runner_.code(with_, session, first, block_tokens, references);
      runner_.restore(with_, coded, values, references.blocks);
      const CodedBlockInfo info = value_of(inspect_block(shape, coded.front()));
      const bool refers = info.referring_subblocks > 0;
      if (block >= known) (refers ? sums_.referring : sums_.fresh) += bytes_of(coded);
      sums_.referring_blocks += refers ? 1 : 0;
      stored.blocks.emplace_back();
      if (!refers) stored.blocks.back() = ReferenceBlock{info.hash, first, values};
    }
    runner_.measure(session, std::as_const(stored.values).view(), sums_.reference);
    KvCache restored = value_of(KvCache::create(shape, session_tokens));
    runner_.restore(linear_, blocks, restored.view());
    runner_.measure(session, std::as_const(restored).view(), sums_.linear);
    if (other != nullptr) {
      check(copy(std::as_const(session.cache).view(), restored.view()));
      check(codec::reuse(std::as_const(other->cache).view().slice(session.start, document_tokens),
            restored.view().slice(session.start, document_tokens), 0));
      runner_.measure(session, std::as_const(restored).view(), sums_.bare);
    }
    value_of(index_.add(session.tokens));
    tokens_.push_back(session.tokens);
    stored_.push_back(std::move(stored));
  }

  Runner& runner() { return runner_; }
  const Sums& sums() const { return sums_; }

 private:
  std::size_t common_prefix(const std::vector<Token>& tokens) const {
    std::size_t most = 0;
    for (const auto& other : tokens_) {
      const auto end = std::mismatch(tokens.begin(), tokens.end(), other.begin(), other.end()).first;
      most = std::max(most, static_cast<std::size_t>(end - tokens.begin()));
    }
    return most;
  }

  /// What spans say of the block from `first` on, cut where stored blocks end; those that were predicted themselves are
  /// left out.
  References references_of(const std::vector<SharedSpan>& spans, std::int64_t first) const {
    References out;
    for (const SharedSpan& span : spans) {
      const std::int64_t begin = std::max(span.first, first);
      const std::int64_t end = std::min(span.first + span.count, first + block_tokens);
      for (std::int64_t at = begin; at < end;) {
        const std::int64_t source = span.source + at - span.first;
        const std::int64_t count = std::min(end - at, block_tokens - source % block_tokens);
        const auto& block =
            stored_[static_cast<std::size_t>(span.sequence)].blocks[static_cast<std::size_t>(source / block_tokens)];
        if (block) {
          out.spans.push_back({at - first, count, std::ssize(out.blocks), source % block_tokens});
          out.blocks.push_back(*block);
        }
        at += count;
      }
    }
    return out;
  }

  Runner runner_;
  Codec linear_, with_;
  SpanIndex index_;
  std::vector<std::vector<Token>> tokens_;
  std::vector<Stored> stored_;
  Sums sums_;
};

int run() {
  const char* step = std::getenv("SEQKV_STEP");
  Batch batch(step == nullptr ? "1" : step);
  std::vector<const std::vector<Token>*> longest;
  for (const auto& document : documents()) longest.push_back(&document);
  std::ranges::stable_sort(longest, [](const auto* a, const auto* b) { return a->size() > b->size(); });
  if (std::ssize(*longest[documents_in_all - 1]) < 1 + document_tokens + continuation) {
    fail(Error(ErrorCode::empty_input, "the documents are too short"));
  }
  for (std::int64_t document = 0; document < documents_in_all; ++document) {
    std::optional<Session> first;
    for (std::int64_t preamble = 0; preamble < 8; ++preamble) {
      Session session =
          batch.runner().run(*longest[static_cast<std::size_t>(documents_in_all + preamble)], preamble_tokens,
                             *longest[static_cast<std::size_t>(document)], document_tokens);
      batch.add(session, first ? &*first : nullptr);
      if (!first) first = std::move(session);
    }
    fmt::print(stderr, "document {} of {}\n", document + 1, documents_in_all);
  }
  const Sums& sums = batch.sums();
  const double components =
      64.0 * session_tokens * static_cast<double>(model()->config().kv_shape(DType::bf16).components_per_token());
  fmt::print(
      "{{\"sessions\": 64, \"tokens\": {}, \"alone_bytes\": {}, \"exact_prefix_bytes\": {}, "
      "\"with_references_bytes\": {}, \"fresh_bytes\": {}, \"referring_bytes\": {}, \"prefix_blocks\": {}, "
      "\"referring_blocks\": {}, \"blocks\": {}, \"alone_bits\": {:.5f}, \"with_references_bits\": {:.5f}, "
      "\"linear_kl\": {:.5f}, \"reference_kl\": {:.5f}, \"bare_reuse_kl\": {:.5f}}}\n",
      session_tokens, sums.alone, sums.exact, sums.fresh + sums.referring, sums.fresh, sums.referring,
      sums.prefix_blocks, sums.referring_blocks, 64 * session_tokens / block_tokens,
      8.0 * static_cast<double>(sums.alone) / components,
      8.0 * static_cast<double>(sums.fresh + sums.referring) / components, sums.linear.result().kl_mean,
      sums.reference.result().kl_mean, sums.bare.result().kl_mean);
  return 0;
}

}  // namespace
}  // namespace seqkv::bench

int main() {
  Kokkos::InitializationSettings settings;
  settings.set_disable_warnings(true);
  const Kokkos::ScopeGuard kokkos(settings);
  return seqkv::bench::run();
}
