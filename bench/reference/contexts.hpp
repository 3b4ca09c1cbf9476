// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Documents behind preambles, their exact caches, and what a model says after a restore.
#pragma once

#include <Kokkos_Core.hpp>
#include <algorithm>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "codec/predict/reuse.hpp"
#include "seqkv/codec.hpp"
#include "seqkv/forward.hpp"
#include "seqkv/profile.hpp"
#include "seqkv/quality.hpp"
#include "seqkv/span_index.hpp"
#include "seqkv/text_file.hpp"
#include "support/model.hpp"

namespace seqkv::bench {

inline constexpr std::int64_t block_tokens = 256;
inline constexpr std::int64_t continuation = 128;

inline std::string environment(const char* name) {
  const char* value = std::getenv(name);
  if (value != nullptr) return value;
  fail(Error(ErrorCode::invalid_argument, std::string("set ") + name));
}

inline const std::vector<std::vector<Token>>& documents() {
  static const std::vector<std::vector<Token>> all = [] {
    std::vector<std::vector<Token>> out;
    for (const std::string& text : value_of(read_documents(environment("SEQKV_TEXT")))) {
      out.push_back(value_of(model()->encode_document(text)));
    }
    return out;
  }();
  return all;
}

inline Codec codec_of(const std::string& spec) {
  static const auto profile = value_of(Profile::load(environment("SEQKV_PROFILE")));
  const Codec codec = value_of(value_of(Codec::parse(spec)).with_profile(profile));
  if (codec.predictor() == Predictor::linear_ref && !codec.uses_references()) {
    fail(Error(ErrorCode::missing_field, "the profile was calibrated without --references"));
  }
  return codec;
}

/// Tokens [first, last) of a document, which begins with the token that all begin with.
inline std::vector<Token> part(const std::vector<Token>& document, std::int64_t first, std::int64_t last) {
  return {document.begin() + first, document.begin() + last};
}

/// A session: preamble, document, and what comes then.
struct Session {
  std::vector<Token> tokens;
  std::vector<Token> next;
  std::int64_t start = 0;  ///< of the document
  KvCache cache;
  std::vector<float> logits;  ///< of `next`, exact

  TokenSpan ids(std::int64_t first, std::int64_t count) const { return TokenSpan(tokens).subspan(first, count); }
};

class Runner {
 public:
  Runner() : forward_(value_of(Forward<Space>::create(space_, model()))) {}

  /// The preamble's first `length` tokens, then the document from its second token on.
  Session run(const std::vector<Token>& preamble, std::int64_t length, const std::vector<Token>& document,
              std::int64_t count) {
    Session out;
    out.tokens = part(preamble, 0, 1 + length);
    out.start = 1 + length;
    out.tokens.insert(out.tokens.end(), document.begin() + 1, document.begin() + 1 + count);
    out.next = part(document, 1 + count, 1 + count + continuation);
    Sequence<Space> sequence(model()->config());
    const Forward<Space>::Item item{&sequence, out.tokens, 0};
    check(forward_.run(space_, {&item, 1}));
    out.cache = value_of(KvCache::create(model()->config().kv_shape(DType::bf16), sequence.tokens()));
    check(sequence.read(space_, 0, out.cache.view()));
    out.logits = go_on(sequence, out.next);
    return out;
  }

  /// Goes on from another cache of the session.
  void measure(const Session& session, const ConstKvView& restored, QualityMeter& meter) {
    Sequence<Space> sequence(model()->config());
    check(sequence.append(space_, restored));
    const std::vector<float> logits = go_on(sequence, session.next);
    std::vector<std::optional<Token>> next(session.next.begin() + 1, session.next.end());
    next.emplace_back();
    meter.add(session.logits, logits, next);
  }

  std::vector<CodedBlock> code(const Codec& codec, const Session& session, std::int64_t first, std::int64_t count,
                               const References& references = {}) {
    const ConstKvView cache = std::as_const(session.cache).view();
    return value_of(
        encode(space_, codec, cache.slice(first, count), session.ids(first, count), first, block_tokens, references));
  }
  void restore(const Codec& codec, const std::vector<CodedBlock>& blocks, const KvView& out,
               std::span<const ReferenceBlock> references = {}) {
    const std::vector<CodedBlockView> views(blocks.begin(), blocks.end());
    check(decode(space_, codec, views, out, references));
  }

 private:
  std::vector<float> go_on(Sequence<Space>& sequence, const std::vector<Token>& tokens) {
    Forward<Space>::Output output;
    const Forward<Space>::Item item{&sequence, tokens, continuation};
    check(forward_.run(space_, {&item, 1}, &output));
    const auto rows =
        Kokkos::subview(output.logits, std::pair<std::int64_t, std::int64_t>(0, continuation), Kokkos::ALL);
    const auto host = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), rows);
    return {host.data(), host.data() + host.size()};
  }

  Space space_;
  Forward<Space> forward_;
};

inline std::int64_t bytes_of(std::span<const CodedBlock> blocks) {
  std::int64_t bytes = 0;
  for (const CodedBlock& block : blocks) bytes += static_cast<std::int64_t>(block.size());
  return bytes;
}

/// Blocks as they decode, to predict others from.
inline References as_references(const KvShape& shape, std::span<const CodedBlock> blocks, const ConstKvView& restored,
                                std::int64_t first_position) {
  References out;
  std::int64_t token = 0;
  for (const CodedBlock& block : blocks) {
    const CodedBlockInfo info = value_of(inspect_block(shape, block));
    const auto count = static_cast<std::int64_t>(info.tokens.size());
    out.blocks.push_back({info.hash, first_position + token, restored.slice(token, count)});
    token += count;
  }
  return out;
}

/// Tokens [first, first + count) are those of the blocks from `source` on.
inline void refer(References& references, std::int64_t first, std::int64_t count, std::int64_t source) {
  std::int64_t token = 0;
  for (std::size_t block = 0; block < references.blocks.size(); ++block) {
    const std::int64_t end = token + references.blocks[block].values.tokens;
    const std::int64_t from = std::max(source, token);
    const std::int64_t some = std::min(source + count, end) - from;
    if (some > 0) {
      references.spans.push_back({first + from - source, some, static_cast<std::int64_t>(block), from - token});
    }
    token = end;
  }
}

}  // namespace seqkv::bench
