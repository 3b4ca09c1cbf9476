// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "seqkv/session.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "codec/batch.hpp"
#include "core/execution_spaces.hpp"
#include "core/guard_memory.hpp"
#include "core/try.hpp"

namespace seqkv {
namespace {

/// Layers and heads [first, first + count) of a view.
KvView select(const KvView& view, std::int64_t first_layer, std::int64_t layers, std::int64_t first_head,
              std::int64_t heads) {
  KvView part = view;
  part.shape.layers = layers;
  part.shape.kv_heads = heads;
  part.tensors.assign(view.tensors.begin() + 2 * first_layer, view.tensors.begin() + 2 * (first_layer + layers));
  for (std::size_t i = 0; i < part.tensors.size(); ++i) {
    part.tensors[i] += first_head * view.strides[i % 2].head * static_cast<std::int64_t>(size_of(view.shape.dtype));
  }
  return part;
}

void fill_with_zeros(const KvView& view) {
  const auto element = static_cast<std::int64_t>(size_of(view.shape.dtype));
  for (std::size_t i = 0; i < view.tensors.size(); ++i) {
    const KvStrides& strides = view.strides[i % 2];
    for (std::int64_t h = 0; h < view.shape.kv_heads; ++h) {
      for (std::int64_t t = 0; t < view.tokens; ++t) {
        for (std::int64_t c = 0; c < view.shape.head_dim; ++c) {
          std::memset(view.tensors[i] + (h * strides.head + t * strides.token + c * strides.component) * element, 0,
                      static_cast<std::size_t>(element));
        }
      }
    }
  }
}

/// A shard with its place among the heads, and its blocks, all of them checked.
struct CheckedShard {
  Codec codec;
  KvShape shape;
  StoredBlocks blocks;
  std::int64_t first_head = 0;  ///< of the cache: its first
};

/// Counts of 0 made what they stand for. Errors: invalid_argument.
Result<RestorePart> settle_part(RestorePart part, std::int64_t tokens, std::int64_t layers, std::int64_t heads) {
  const auto settle = [](const char* what, std::int64_t first, std::int64_t& count, std::int64_t all) -> Result<void> {
    if (first >= 0 && first < all && count == 0) count = all - first;
    if (first >= 0 && count > 0 && first < all && count <= all - first) return {};
    return Error(ErrorCode::invalid_argument, fmt::format("{} {} from {} on, there are {}", count, what, first, all));
  };
  SEQKV_TRY(settle("tokens", part.first_token, part.tokens, tokens));
  SEQKV_TRY(settle("layers", part.first_layer, part.layers, layers));
  SEQKV_TRY(settle("heads", part.first_head, part.heads, heads));
  return part;
}

template <class ExecutionSpace>
class Restorer {
 public:
  Restorer(const ExecutionSpace& space, const RestorePart& part, const KvView& out)
      : space_(space), part_(part), out_(out) {}

  /// Decodes what is wanted of a shard, some blocks at a time.
  Result<void> run(const CheckedShard& shard) {
    const std::int64_t first = std::max(part_.first_head, shard.first_head);
    const std::int64_t end = std::min(part_.first_head + part_.heads, shard.first_head + shard.shape.kv_heads);
    const KvView to = select(out_, 0, part_.layers, first - part_.first_head, end - first);
    const bool whole = part_.layers == shard.shape.layers && end - first == shard.shape.kv_heads &&
                       out_.shape.dtype == shard.shape.dtype;
    const auto together = static_cast<std::size_t>(codec::blocks_for_all_threads(space_, shard.shape));
    const StoredBlocks& blocks = shard.blocks;
    for (std::size_t at = 0; at < blocks.size(); at += together) {
      const std::size_t some = std::min(together, blocks.size() - at);
      const std::int64_t position = blocks.first_token(at);
      const std::int64_t batch_end = blocks.first_token(at + some);
      const std::int64_t from = std::max(part_.first_token, position);
      const std::int64_t count = std::min(part_.first_token + part_.tokens, batch_end) - from;
      const KvView target = to.slice(from - part_.first_token, count);
      if (whole && count == batch_end - position) {  // into the caller's memory
        KvView view = target;
        view.shape = shard.shape;
        SEQKV_TRY(decode(space_, shard.codec, blocks, at, some, view));
        continue;
      }
      if (scratch_.tokens() < batch_end - position || !(scratch_.shape() == shard.shape)) {
        SEQKV_ASSIGN(scratch_, KvCache::create(shard.shape, batch_end - position));
      }
      const KvView all = scratch_.view().slice(0, batch_end - position);
      SEQKV_TRY(decode(space_, shard.codec, blocks, at, some, all));
      const KvView part = select(all, part_.first_layer, part_.layers, first - shard.first_head, end - first);
      SEQKV_TRY(copy(space_, part.slice(from - position, count), target));
    }
    return {};
  }

 private:
  const ExecutionSpace& space_;
  const RestorePart& part_;
  const KvView& out_;
  KvCache scratch_;
};

/// Errors: shape_mismatch.
Result<void> check_shards(const StoreParameters& first, const SessionInfo& first_session, const StoreParameters& other,
                          const SessionInfo& session) {
  KvShape shape = other.shape;
  shape.kv_heads = first.shape.kv_heads;
  if (shape == first.shape && other.model == first.model && session.tokens == first_session.tokens) return {};
  return Error(ErrorCode::shape_mismatch,
               fmt::format("session '{}' is no shard of the cache of '{}'", session.name, first_session.name));
}

}  // namespace

template <class ExecutionSpace>
Result<SaveReport> save(const ExecutionSpace& space, Store& store, const std::string& session, TokenSpan tokens,
                        const Codec& codec, const ConstKvView& kv, const SaveOptions& options) {
  const StoreParameters& parameters = store.parameters();
  KvShape shape = kv.shape;
  if (shape.rope.dim == 0) shape.rope = parameters.shape.rope;  // an engine need not know
  if (!(shape == parameters.shape) || kv.tokens != static_cast<std::int64_t>(tokens.size())) {
    return Error(ErrorCode::shape_mismatch,
                 fmt::format("{} tokens with a cache of {} tokens of {}, the store holds caches of {}", tokens.size(),
                             kv.tokens, kv.shape.describe(), parameters.shape.describe()));
  }
  SEQKV_ASSIGN(SessionWriter writer, store.begin(session, tokens, codec, options));
  const std::int64_t step = codec::blocks_for_all_threads(space, shape) * parameters.block_tokens;
  SaveReport report{writer.known_tokens(), 0};
  for (std::int64_t first = report.known_tokens; first < kv.tokens; first += step) {
    ConstKvView part = kv.slice(first, std::min(step, kv.tokens - first));
    part.shape = shape;
    SEQKV_TRY(append(space, writer, part));
  }
  SEQKV_TRY(writer.commit());
  report.new_bytes = writer.new_bytes();
  return report;
}

template <class ExecutionSpace>
Result<std::vector<Token>> restore(const ExecutionSpace& space, std::span<const HeadShard> shards,
                                   const RestorePart& wanted, const KvView& out) {
  if (shards.empty()) return Error(ErrorCode::invalid_argument, "no shards");
  std::int64_t heads = 0;
  std::vector<SessionInfo> sessions;
  for (const HeadShard& shard : shards) {
    SEQKV_ASSIGN(sessions.emplace_back(), shard.store->session(shard.session));
    SEQKV_TRY(check_shards(shards[0].store->parameters(), sessions[0], shard.store->parameters(), sessions.back()));
    heads += shard.store->parameters().shape.kv_heads;
  }
  const KvShape& stored = shards[0].store->parameters().shape;
  SEQKV_ASSIGN(const RestorePart part, settle_part(wanted, sessions[0].tokens, stored.layers, heads));
  if (out.tokens != part.tokens || out.shape.layers != part.layers || out.shape.kv_heads != part.heads ||
      out.shape.head_dim != stored.head_dim) {
    return Error(ErrorCode::shape_mismatch,
                 fmt::format("room for {} tokens of {}, wanted are {} tokens of {} layers and {} heads of {}",
                             out.tokens, out.shape.describe(), part.tokens, part.layers, part.heads, stored.head_dim));
  }
  return guard_memory("to restore a session", [&]() -> Result<std::vector<Token>> {
    std::vector<CheckedShard> checked;
    std::int64_t first_head = 0;
    std::vector<Token> tokens;
    for (const HeadShard& shard : shards) {
      const KvShape& shape = shard.store->parameters().shape;
      const std::int64_t begin = std::exchange(first_head, first_head + shape.kv_heads);
      if (begin >= part.first_head + part.heads || first_head <= part.first_head) continue;
      SEQKV_ASSIGN(Codec codec, shard.store->codec(shard.session));
      SEQKV_ASSIGN(StoredBlocks blocks, shard.store->blocks(shard.session, part.first_token, part.tokens));
      if (checked.empty()) tokens = blocks.token_ids();
      if (blocks.token_ids() != tokens) {
        return Error(ErrorCode::shape_mismatch,
                     fmt::format("session '{}' has other tokens than the shards before", shard.session));
      }
      checked.push_back({std::move(codec), shape, std::move(blocks), begin});
    }
    Restorer<ExecutionSpace> restorer(space, part, out);
    for (const CheckedShard& shard : checked) {
      if (auto status = restorer.run(shard); !status) {
        fill_with_zeros(out);
        return std::move(status).error();
      }
    }
    const auto begin = tokens.begin() + part.first_token - checked[0].blocks.first_token(0);
    return std::vector<Token>(begin, begin + part.tokens);
  });
}

template <class ExecutionSpace>
Result<std::vector<Token>> restore(const ExecutionSpace& space, const Store& store, const std::string& session,
                                   const RestorePart& part, const KvView& out) {
  const HeadShard shard{&store, session};
  return restore(space, std::span(&shard, 1), part, out);
}

#define SEQKV_INSTANTIATE(Space)                                                                                  \
  template Result<SaveReport> save(const Space&, Store&, const std::string&, TokenSpan, const Codec&,             \
                                   const ConstKvView&, const SaveOptions&);                                       \
  template Result<std::vector<Token>> restore(const Space&, const Store&, const std::string&, const RestorePart&, \
                                              const KvView&);                                                     \
  template Result<std::vector<Token>> restore(const Space&, std::span<const HeadShard>, const RestorePart&,       \
                                              const KvView&);
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)
#undef SEQKV_INSTANTIATE

}  // namespace seqkv
