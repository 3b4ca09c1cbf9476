// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "seqkv/evaluate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "core/execution_spaces.hpp"
#include "core/try.hpp"
#include "seqkv/forward.hpp"
#include "seqkv/frame.hpp"
#include "seqkv/profile.hpp"
#include "seqkv/replay.hpp"
#include "seqkv/transfer.hpp"

namespace seqkv {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// The first `rows` rows of a matrix, on the host.
template <class ExecutionSpace>
std::vector<float> to_host(const Matrix<ExecutionSpace>& matrix, std::int64_t rows) {
  const auto part = Kokkos::subview(matrix, std::pair<std::int64_t, std::int64_t>(0, rows), Kokkos::ALL);
  const auto host = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), part);
  return {host.data(), host.data() + host.size()};
}

/// What a continuation gave.
struct Continuation {
  std::vector<float> logits;     ///< [continuation][vocabulary]
  std::vector<float> attention;  ///< [layers * continuation][query_heads * head_dim]
};

/// Sums over documents for one codec.
struct Tally {
  double bytes = 0;
  double encode_seconds = 0;
  double decode_seconds = 0;
  double error = 0;  ///< squared, of attention outputs
  double power = 0;  ///< squared norm of the exact ones
  QualityMeter meter;
};

template <class ExecutionSpace>
class Evaluator {
 public:
  Evaluator(const ExecutionSpace& space, std::shared_ptr<const Model<ExecutionSpace>> model,
            Forward<ExecutionSpace> forward, const EvaluateOptions& options)
      : space_(space), model_(std::move(model)), forward_(std::move(forward)), options_(options) {}

  /// The exact cache of a document's context, and what the model says of its continuation.
  Result<void> prepare(TokenSpan document) {
    document_ = document;
    const ModelConfig& config = forward_.model().config();
    Sequence<ExecutionSpace> sequence(config);
    typename Forward<ExecutionSpace>::Output output;
    const TokenSpan context = document.first(options_.context);
    const typename Forward<ExecutionSpace>::Item item{&sequence, context, options_.context};
    SEQKV_TRY(forward_.run(space_, {&item, 1}, &output));
    surprisal_ += surprisal_bits(to_host<ExecutionSpace>(output.logits, options_.context - 1), context.subspan(1));
    SEQKV_ASSIGN(cache_, KvCache::create(config.kv_shape(options_.dtype), options_.context));
    SEQKV_TRY(sequence.read(space_, 0, cache_.view()));
    SEQKV_ASSIGN(exact_, go_on(sequence));
    return {};
  }

  /// Codes and decodes the cache, goes on from it and compares.
  Result<void> measure(const Codec& named, Tally& tally) {
    const TokenSpan context = document_.first(options_.context);
    SEQKV_ASSIGN(const Codec codec, settle(space_, named, source_of(cache_.view(), context), options_.block_tokens));
    auto start = Clock::now();
    SEQKV_ASSIGN(const std::vector<CodedBlock> blocks, encode_cache(codec, context));
    tally.encode_seconds += seconds_since(start);
    const FrameInfo info{cache_.shape(),
                         cache_.tokens(),
                         options_.block_tokens,
                         codec.spec(),
                         forward_.model().fingerprint().combined(),
                         codec.profile_fingerprint()};
    SEQKV_ASSIGN(const std::vector<std::byte> bytes, make_frame(info, blocks));
    tally.bytes += static_cast<double>(bytes.size());

    SEQKV_ASSIGN(const FrameReader frame, FrameReader::parse(bytes, "frame in memory"));
    start = Clock::now();
    SEQKV_ASSIGN(const KvCache restored, decode(space_, model_, frame, codec.profile()));
    tally.decode_seconds += seconds_since(start);

    return go_on_from(restored, tally);
  }

  /// The same for another program's codec.
  Result<void> measure(const Peer& peer, Tally& tally) {
    SEQKV_ASSIGN(const Recoded recoded, peer.recode(cache_, document_.first(options_.context)));
    tally.bytes += static_cast<double>(recoded.bytes);
    return go_on_from(recoded.restored, tally);
  }

  double surprisal() const { return surprisal_; }

 private:
  Result<std::vector<CodedBlock>> encode_cache(const Codec& codec, TokenSpan tokens) {
    const std::int64_t block_tokens = options_.block_tokens;
    if (!codec.needs_model()) return encode(space_, codec, std::as_const(cache_).view(), tokens, 0, block_tokens);
    SEQKV_ASSIGN(auto coder, ReplayCoder<ExecutionSpace>::create(space_, model_, codec, options_.dtype,
                                                                 {std::min(block_tokens, cache_.tokens()), true}));
    std::vector<CodedBlock> blocks;
    for (std::int64_t first = 0; first < cache_.tokens(); first += block_tokens) {
      const std::int64_t count = std::min(block_tokens, cache_.tokens() - first);
      SEQKV_ASSIGN(CodedBlock block, coder.encode(space_, tokens.subspan(first, count),
                                                  std::as_const(cache_).view().slice(first, count)));
      blocks.push_back(std::move(block));
    }
    return blocks;
  }

  /// Goes on from a restored cache and compares with the exact one.
  Result<void> go_on_from(const KvCache& restored, Tally& tally) {
    Sequence<ExecutionSpace> sequence(forward_.model().config());
    SEQKV_TRY(sequence.append(space_, restored.view()));
    SEQKV_ASSIGN(const Continuation continued, go_on(sequence));
    tally.meter.add(exact_.logits, continued.logits, next_tokens());
    for (std::size_t i = 0; i < exact_.attention.size(); ++i) {
      const double difference = double{continued.attention[i]} - double{exact_.attention[i]};
      tally.error += difference * difference;
      tally.power += double{exact_.attention[i]} * double{exact_.attention[i]};
    }
    return {};
  }

  /// The tokens that follow each row of the continuation; the last one is not known.
  std::vector<std::optional<Token>> next_tokens() const {
    const TokenSpan continuation = document_.subspan(options_.context, options_.continuation);
    std::vector<std::optional<Token>> next(continuation.begin() + 1, continuation.end());
    next.emplace_back();
    return next;
  }

  Result<Continuation> go_on(Sequence<ExecutionSpace>& sequence) {
    typename Forward<ExecutionSpace>::Output output;
    output.want_attention = true;
    const TokenSpan tokens = document_.subspan(options_.context, options_.continuation);
    const typename Forward<ExecutionSpace>::Item item{&sequence, tokens, options_.continuation};
    SEQKV_TRY(forward_.run(space_, {&item, 1}, &output));
    return Continuation{
        to_host<ExecutionSpace>(output.logits, options_.continuation),
        to_host<ExecutionSpace>(output.attention, forward_.model().config().layers * options_.continuation)};
  }

  const ExecutionSpace& space_;
  std::shared_ptr<const Model<ExecutionSpace>> model_;
  Forward<ExecutionSpace> forward_;
  EvaluateOptions options_;
  TokenSpan document_;
  KvCache cache_;
  Continuation exact_;
  double surprisal_ = 0;
};

}  // namespace

template <class ExecutionSpace>
Result<EvaluateReport> evaluate(const ExecutionSpace& space, std::shared_ptr<const Model<ExecutionSpace>> model,
                                const std::vector<std::vector<Token>>& documents, const std::vector<Codec>& codecs,
                                const EvaluateOptions& options,
                                const std::function<void(std::int64_t, std::int64_t)>& progress) {
  if (documents.empty() || codecs.empty())
    return Error(ErrorCode::empty_input, "no documents or no codecs to evaluate");
  if (options.context < 2 || options.continuation < 1) {
    return Error(ErrorCode::invalid_argument,
                 "a context of at least 2 and a continuation of at least 1 token are needed");
  }
  for (std::size_t d = 0; d < documents.size(); ++d) {
    if (static_cast<std::int64_t>(documents[d].size()) < options.context + options.continuation) {
      return Error(ErrorCode::invalid_argument,
                   fmt::format("document {} has {} tokens, {} are needed", d, documents[d].size(),
                               options.context + options.continuation));
    }
  }
  const KvShape shape = model->config().kv_shape(options.dtype);
  SEQKV_ASSIGN(Forward<ExecutionSpace> forward, Forward<ExecutionSpace>::create(space, model));
  Evaluator<ExecutionSpace> evaluator(space, std::move(model), std::move(forward), options);
  std::vector<Tally> tallies(codecs.size() + options.peers.size());
  const auto all = static_cast<std::int64_t>(documents.size() * tallies.size());
  std::int64_t done = 0;
  for (const auto& document : documents) {
    SEQKV_TRY(evaluator.prepare(document));
    for (std::size_t c = 0; c < codecs.size(); ++c) {
      SEQKV_TRY(evaluator.measure(codecs[c], tallies[c]));
      if (progress) progress(++done, all);
    }
    for (std::size_t p = 0; p < options.peers.size(); ++p) {
      SEQKV_TRY(evaluator.measure(options.peers[p], tallies[codecs.size() + p]));
      if (progress) progress(++done, all);
    }
  }
  EvaluateReport report;
  report.documents = static_cast<std::int64_t>(documents.size());
  const auto tokens = static_cast<double>(report.documents * options.context);
  const double components = tokens * static_cast<double>(shape.components_per_token());
  report.surprisal_bits_per_token = evaluator.surprisal() / (tokens - static_cast<double>(report.documents));
  for (std::size_t i = 0; i < tallies.size(); ++i) {
    const Tally& tally = tallies[i];
    const bool is_codec = i < codecs.size();
    EvaluateRow row;
    row.codec = is_codec ? codecs[i].spec() : options.peers[i - codecs.size()].name;
    row.bits_per_component = 8 * tally.bytes / components;
    row.bits_per_token = 8 * tally.bytes / tokens;
    row.ratio_bf16 = 16 / row.bits_per_component;
    row.quality = tally.meter.result();
    row.attn_out_err = std::sqrt(tally.error / tally.power);
    if (is_codec) {
      row.encode_GBps = 2e-9 * components / tally.encode_seconds;
      row.decode_GBps = 2e-9 * components / tally.decode_seconds;
      if (codecs[i].profile() != nullptr) row.profile_bytes = codecs[i].profile()->bytes();
    }
    report.rows.push_back(std::move(row));
  }
  return report;
}

#define SEQKV_INSTANTIATE(Space)                                                                 \
  template Result<EvaluateReport> evaluate(                                                      \
      const Space&, std::shared_ptr<const Model<Space>>, const std::vector<std::vector<Token>>&, \
      const std::vector<Codec>&, const EvaluateOptions&, const std::function<void(std::int64_t, std::int64_t)>&);
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)
#undef SEQKV_INSTANTIATE

}  // namespace seqkv
