// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "store/batch_worker.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "core/execution_spaces.hpp"
#include "core/stopwatch.hpp"
#include "core/try.hpp"
#include "seqkv/forward.hpp"
#include "seqkv/kv_file.hpp"
#include "seqkv/session.hpp"
#include "store/session_replay.hpp"

namespace seqkv {
namespace {

using Clock = std::chrono::steady_clock;
using Job = store::BatchJob;
using store::common_prefix;

/// Runs jobs one after the other on one sequence, which keeps the cache of the session before.
template <class ExecutionSpace>
class BatchRunner final : public store::BatchWorker<ExecutionSpace> {
 public:
  BatchRunner(const ExecutionSpace& space, std::shared_ptr<const Model<ExecutionSpace>> model,
              Forward<ExecutionSpace> forward, Store store, const BatchOptions& options)
      : space_(space),
        forward_(std::move(forward)),
        store_(std::move(store)),
        options_(options),
        sequence_(forward_.model().config()),
        replay_(std::move(model), options) {}

  Result<BatchRow> run(const Job& job, const store::BatchHooks& hooks) override {
    const auto start = Clock::now();
    BatchRow row;
    row.session = job.line->session;
    row.tokens = static_cast<std::int64_t>(job.tokens.size());
    SEQKV_ASSIGN(const bool there, stored_before(job));
    if (there) {
      row.stored_before = true;
      row.shared_tokens = row.tokens;
      SEQKV_ASSIGN(const SessionInfo info, store_.session(row.session));
      row.bytes = info.bytes;
    } else {
      SEQKV_ASSIGN(SessionWriter writer,
                   store_.begin(row.session, job.tokens, options_.codec, {.sharing = job.sharing}));
      row.shared_tokens = writer.known_tokens();
      SEQKV_TRY(job.from_kv ? save_kv(job, writer) : save_tokens(job, writer, hooks, row));
      SEQKV_TRY(writer.commit());
      row.new_bytes = writer.new_bytes();
      row.bytes = writer.bytes();
      row.reference_bytes = writer.reference_bytes();
    }
    const auto components = static_cast<double>(row.tokens * store_.parameters().shape.components_per_token());
    row.bits_per_component = 8.0 * static_cast<double>(row.bytes) / components;
    row.seconds = std::chrono::duration<double>(Clock::now() - start).count();
    if (measured_tokens() > 0 && !job.from_kv) {
      SEQKV_ASSIGN(row.quality, measure(job));
    }
    return row;
  }

  Result<void> reach(const Job& job, std::int64_t tokens) override {
    SEQKV_TRY(prepare(job, nullptr));
    return compute(job, tokens, {});
  }

  Result<void> read(std::int64_t first, const KvView& out) override { return sequence_.read(space_, first, out); }

  Result<void> supply(TokenSpan prefix, KvCache values) override {
    if (supplied_.empty() || common_prefix(supplied_tokens_, prefix) < std::ssize(supplied_tokens_)) supplied_.clear();
    supplied_tokens_.assign(prefix.begin(), prefix.end());
    supplied_.push_back(std::move(values));
    return {};
  }

  Store& store() override { return store_; }
  const store::BatchSeconds& seconds() const override { return seconds_; }

 private:
  /// Whether the session is in the store as it is. Errors: session_differs.
  Result<bool> stored_before(const Job& job) const {
    const auto info = store_.session(job.line->session);
    if (!info && info.error().code == ErrorCode::session_not_found) return false;
    if (!info) return info.error();
    SEQKV_ASSIGN(const std::vector<Token> stored, store_.tokens(job.line->session));
    if (stored == job.tokens && info->codec == options_.codec.spec() &&
        info->profile == options_.codec.profile_fingerprint()) {
      return true;
    }
    return Error(ErrorCode::session_differs,
                 fmt::format("session '{}' is in the store with {}", job.line->session,
                             stored == job.tokens ? fmt::format("codec {} or another profile", info->codec)
                                                  : std::string("other tokens")));
  }

  /// What was computed elsewhere, where that is more than what is in memory.
  Result<void> take_supplied(const Job& job) {
    const std::int64_t supplied = common_prefix(supplied_tokens_, job.tokens);
    if (supplied <= common_prefix(current_, job.tokens)) return {};
    truncate(common_prefix(current_, job.tokens));
    std::int64_t first = 0;  // of the piece at hand
    for (const KvCache& piece : supplied_) {
      const std::int64_t from = std::max(first, sequence_.tokens());
      const std::int64_t to = std::min(first + piece.tokens(), supplied);
      if (from < to) SEQKV_TRY(sequence_.append(space_, piece.view().slice(from - first, to - from)));
      first += piece.tokens();
    }
    current_.assign(job.tokens.begin(), job.tokens.begin() + sequence_.tokens());
    return {};
  }

  /// Brings the sequence to a prefix of the tokens that is as long as possible: from memory, or from what the store
  /// knows by a writer.
  Result<void> prepare(const Job& job, const SessionWriter* writer) {
    const std::int64_t known_tokens = writer == nullptr ? 0 : writer->known_tokens();
    SEQKV_TRY(take_supplied(job));
    const std::int64_t in_memory = common_prefix(current_, job.tokens);
    const std::int64_t block = options_.block_tokens;
    const bool same_bits = options_.codec.is_exact() && options_.dtype == DType::f32;
    if (known_tokens <= in_memory || (options_.prefix == PrefixPolicy::exact && !same_bits) ||
        options_.codec.needs_model()) {
      truncate(in_memory);
    } else {
      const std::int64_t first = in_memory / block;
      truncate(first * block);
      if (!same_bits) inexact_from_ = std::min(inexact_from_, first * block);
      SEQKV_ASSIGN(const StoredBlocks blocks, writer->known());
      SEQKV_TRY(append_blocks(sequence_, blocks, first, known_tokens - first * block));
    }
    current_.assign(job.tokens.begin(), job.tokens.begin() + sequence_.tokens());
    return {};
  }

  /// Keeps the first `tokens` of the sequence.
  void truncate(std::int64_t tokens) {
    sequence_.truncate(tokens);
    current_.resize(static_cast<std::size_t>(sequence_.tokens()));
    if (inexact_from_ >= sequence_.tokens()) inexact_from_ = nowhere;
  }

  /// Blocks from `first` on.
  Result<void> append_blocks(Sequence<ExecutionSpace>& sequence, const StoredBlocks& blocks, std::int64_t first,
                             std::int64_t tokens) {
    if (options_.codec.needs_model()) return replay_.restore(space_, blocks, sequence);
    SEQKV_ASSIGN(KvCache cache, KvCache::create(store_.parameters().shape, tokens));
    const auto from = static_cast<std::size_t>(first);
    SEQKV_TRY(decode(space_, options_.codec, blocks, from, blocks.size() - from, cache.view()));
    return sequence.append(space_, cache.view());
  }

  /// Runs the model over what the sequence lacks of the first `tokens`.
  Result<void> compute(const Job& job, std::int64_t tokens, const std::function<Result<void>()>& look_up) {
    constexpr std::int64_t step = 2 * Forward<ExecutionSpace>::default_chunk;
    while (sequence_.tokens() < tokens) {
      if (look_up) SEQKV_TRY(look_up());
      const Stopwatch watch(seconds_.model);
      const std::int64_t first = sequence_.tokens();
      const TokenSpan next = TokenSpan(job.tokens).subspan(first, std::min(step, tokens - first));
      const typename Forward<ExecutionSpace>::Item item{&sequence_, next, 0};
      SEQKV_TRY(forward_.run(space_, {&item, 1}));
      current_.insert(current_.end(), next.begin(), next.end());
    }
    return {};
  }

  Result<void> save_tokens(const Job& job, SessionWriter& writer, const store::BatchHooks& hooks, BatchRow& row) {
    if (writer.known_tokens() == row.tokens) return {};
    if (std::holds_alternative<RecomputeSpec>(options_.codec.quantizer())) {
      SEQKV_ASSIGN(row.new_tokens, save_by_replay(job, writer, {}));
      return {};
    }
    SEQKV_TRY(prepare(job, &writer));
    row.new_tokens = row.tokens - sequence_.tokens();
    const auto read = [this](std::int64_t first, KvCache& cache) {
      return sequence_.read(space_, first, cache.view());
    };
    std::int64_t saved = writer.known_tokens();
    for (const std::int64_t stop : hooks.stops) {
      if (options_.codec.needs_model() || stop >= row.tokens) break;
      SEQKV_TRY(compute(job, stop, hooks.look_up));
      SEQKV_TRY(save_from(TokenSpan(job.tokens).first(stop), saved, writer, read));
      saved = std::max(saved, stop);
      SEQKV_TRY(hooks.reached(stop));
    }
    SEQKV_TRY(compute(job, row.tokens, hooks.look_up));
    if (options_.codec.needs_model()) return save(job, writer, read, {});
    return save_from(job.tokens, saved, writer, read);
  }

  Result<void> save_kv(const Job& job, SessionWriter& writer) {
    SEQKV_ASSIGN(const KvFile file, KvFile::open(job.line->kv));
    const auto read = [&file](std::int64_t first, KvCache& cache) {
      KvView part = cache.view();
      part.shape = file.shape();  // the file may leave out what it does not know of its rope
      return file.read(first, part);
    };
    return save(job, writer, read, source_of(file).hidden);
  }

  /// What the store does not have yet. `read(first, cache)` fills `cache` with the values of its tokens, from `first`
  /// on; `states_of`, where it is there, the states of such tokens.
  template <class Read>
  Result<void> save(const Job& job, SessionWriter& writer, const Read& read,
                    const decltype(KvSource::hidden)& states_of) {
    if (!options_.codec.needs_model()) return save_from(job.tokens, writer.known_tokens(), writer, read);
    KvCache cache;
    const auto view_of = [&](std::int64_t first, std::int64_t count, KvCache&) -> Result<ConstKvView> {
      SEQKV_ASSIGN(cache, KvCache::create(store_.parameters().shape, count));
      SEQKV_TRY(read(first, cache));
      return ConstKvView(cache.view());
    };
    SEQKV_TRY(save_by_replay(job, writer, {store_.parameters().shape, job.tokens, view_of, states_of}));
    return {};
  }

  Result<std::int64_t> save_by_replay(const Job& job, SessionWriter& writer, const KvSource& source) {
    SEQKV_ASSIGN(const StoredBlocks known, writer.known());
    return replay_.save(space_, job.tokens, source, known, writer);
  }

  /// Tokens from `begin` on, some blocks at a time.
  template <class Read>
  Result<void> save_from(TokenSpan tokens, std::int64_t begin, SessionWriter& writer, const Read& read) {
    const Stopwatch watch(seconds_.codec);
    constexpr std::int64_t blocks_at_a_time = 32;
    const std::int64_t step = blocks_at_a_time * options_.block_tokens;
    const auto all = static_cast<std::int64_t>(tokens.size());
    for (std::int64_t first = begin; first < all; first += step) {
      const std::int64_t count = std::min(step, all - first);
      SEQKV_ASSIGN(KvCache cache, KvCache::create(store_.parameters().shape, count));
      SEQKV_TRY(read(first, cache));
      SEQKV_TRY(append(space_, writer, cache.view()));
    }
    return {};
  }

  /// What has no bound is measured in any case.
  std::int64_t measured_tokens() const {
    constexpr std::int64_t usual = 64;
    return options_.measure == 0 && options_.codec.predictor() == Predictor::ref ? usual : options_.measure;
  }

  /// The blocks of a session, which the index may not know yet.
  Result<StoredBlocks> stored(const Job& job) const {
    auto blocks = store_.blocks(job.line->session);
    if (blocks || blocks.error().code != ErrorCode::session_not_found) return blocks;
    return store_.match(job.tokens, options_.codec);
  }

  /// The last tokens run on the session as the store gives it back, against the same on the cache in memory.
  Result<std::optional<Quality>> measure(const Job& job) {
    const auto all = static_cast<std::int64_t>(job.tokens.size());
    const std::int64_t tail = std::min(measured_tokens(), all / 4);
    if (tail < 1) return std::optional<Quality>();
    truncate(std::min(inexact_from_, all - tail));
    SEQKV_TRY(prepare(job, nullptr));
    truncate(all - tail);
    SEQKV_ASSIGN(const std::vector<float> exact, last_logits(sequence_, job.tokens, tail));
    current_ = job.tokens;

    SEQKV_ASSIGN(const StoredBlocks blocks, stored(job));
    Sequence<ExecutionSpace> restored(forward_.model().config());
    SEQKV_TRY(append_blocks(restored, blocks, 0, all));
    restored.truncate(all - tail);
    SEQKV_ASSIGN(const std::vector<float> again, last_logits(restored, job.tokens, tail));
    std::vector<std::optional<Token>> next(job.tokens.end() - tail + 1, job.tokens.end());
    next.emplace_back();
    QualityMeter meter;
    meter.add(exact, again, next);
    return std::optional<Quality>(meter.result());
  }

  /// Runs what the sequence lacks of `tokens`; logits of the last `rows`.
  Result<std::vector<float>> last_logits(Sequence<ExecutionSpace>& sequence, TokenSpan tokens, std::int64_t rows) {
    typename Forward<ExecutionSpace>::Output output;
    const typename Forward<ExecutionSpace>::Item item{&sequence, tokens.subspan(sequence.tokens()), rows};
    SEQKV_TRY(forward_.run(space_, {&item, 1}, &output));
    const auto host = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), output.logits);
    return std::vector<float>(host.data(), host.data() + host.size());
  }

  const ExecutionSpace& space_;
  Forward<ExecutionSpace> forward_;
  Store store_;
  const BatchOptions& options_;
  Sequence<ExecutionSpace> sequence_;
  std::vector<Token> current_;  ///< what the sequence holds the cache of
  std::vector<Token> supplied_tokens_;
  std::vector<KvCache> supplied_;  ///< the cache of these, in pieces
  store::BatchSeconds seconds_;
  store::SessionReplay<ExecutionSpace> replay_;

  static constexpr std::int64_t nowhere = INT64_MAX;
  std::int64_t inexact_from_ = nowhere;  ///< the token from which on the sequence sees the codec's error
};

}  // namespace

template <class ExecutionSpace>
Result<std::unique_ptr<store::BatchWorker<ExecutionSpace>>> store::make_batch_worker(
    const ExecutionSpace& space, std::shared_ptr<const Model<ExecutionSpace>> model, Store store,
    const BatchOptions& options) {
  SEQKV_ASSIGN(Forward<ExecutionSpace> forward, Forward<ExecutionSpace>::create(space, model));
  std::unique_ptr<BatchWorker<ExecutionSpace>> worker = std::make_unique<BatchRunner<ExecutionSpace>>(
      space, std::move(model), std::move(forward), std::move(store), options);
  return worker;
}

#define SEQKV_INSTANTIATE(Space)                                                        \
  template Result<std::unique_ptr<store::BatchWorker<Space>>> store::make_batch_worker( \
      const Space&, std::shared_ptr<const Model<Space>>, Store, const BatchOptions&);
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)
#undef SEQKV_INSTANTIATE

}  // namespace seqkv
