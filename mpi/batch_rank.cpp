// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "mpi/batch_rank.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>

#include "core/bytes.hpp"
#include "core/execution_spaces.hpp"
#include "core/stopwatch.hpp"
#include "core/try.hpp"
#include "mpi/coded_prefix.hpp"
#include "mpi/communicator.hpp"
#include "store/epoch.hpp"
#include "store/identity.hpp"
#include "store/index.hpp"

namespace seqkv::mpi {
namespace {

constexpr int prefix_tag = 2;

}  // namespace

template <class ExecutionSpace>
BatchRank<ExecutionSpace>::BatchRank(const ExecutionSpace& space, const Communicator& communicator, const Plan& plan,
                                     const std::vector<store::BatchJob>& jobs,
                                     store::BatchWorker<ExecutionSpace>& worker, const BatchOptions& options,
                                     EpochControl& control, RankReport& report)
    : space_(space),
      communicator_(communicator),
      plan_(plan),
      jobs_(jobs),
      worker_(worker),
      options_(options),
      control_(control),
      report_(report),
      mail_(communicator, prefix_tag),
      wanted_(plan.wanted(communicator.rank())),
      arrived_(plan.handovers.size()),
      next_(jobs.size()) {
  for (const Handover& handover : plan.handovers) {
    if (handover.owner == communicator.rank()) {
      given_.push_back(&handover);
      const auto tokens = std::ssize(jobs.back().tokens);
      stops_.push_back(std::min(handover.last_block * options.block_tokens, tokens));
    } else if (std::ranges::binary_search(handover.ranks.begin() + 1, handover.ranks.end(), communicator.rank())) {
      taken_.push_back(&handover);
    }
  }
}

// ---- prefixes ---------------------------------------------------------------------------------------------

/// Codes what is in memory and sends it on its way. Its blocks have been written.
template <class ExecutionSpace>
Result<void> BatchRank<ExecutionSpace>::hand_over(const Handover& handover) {
  const Stopwatch watch(report_.hand_over);
  const store::BatchJob& job = jobs_.back();
  const Store::State& state = worker_.store().state();
  CodedPrefix prefix;
  prefix.handover = static_cast<std::uint64_t>(&handover - plan_.handovers.data());
  prefix.first_token = handover.first_block * options_.block_tokens;
  const std::int64_t last = std::min(handover.last_block * options_.block_tokens, std::ssize(job.tokens));
  KvShape shape = state.parameters.shape;
  shape.dtype = DType::f32;
  SEQKV_ASSIGN(KvCache cache, KvCache::create(shape, last - prefix.first_token));
  SEQKV_TRY(worker_.read(prefix.first_token, cache.view()));
  const TokenSpan tokens(job.tokens);
  SEQKV_ASSIGN(prefix.blocks, CodedPrefix::encode(space_, cache.view(),
                                                  tokens.subspan(static_cast<std::size_t>(prefix.first_token),
                                                                 static_cast<std::size_t>(cache.tokens())),
                                                  prefix.first_token, options_.block_tokens));
  const auto identities =
      store::block_identities(state.root, tokens.first(static_cast<std::size_t>(last)), options_.block_tokens);
  for (std::int64_t b = handover.first_block; b < handover.last_block; ++b) {
    SEQKV_ASSIGN(const auto row, state.find(identities[static_cast<std::size_t>(b)], options_.codec));
    if (!row) return Error(ErrorCode::internal, "a block that others wait for has not been written");
    prefix.rows.push_back(*row);
  }
  const auto bytes = std::make_shared<const std::vector<std::byte>>(prefix.to_bytes());
  for (const int rank : handover.to(communicator_.rank())) {
    SEQKV_TRY(mail_.post(bytes, rank));
    report_.sent_bytes += std::ssize(*bytes);
  }
  // Those who wait for it take it now: messages of that size move while both sides look.
  constexpr auto moment = std::chrono::milliseconds(50);
  const auto until = std::chrono::steady_clock::now() + moment;
  while (!mail_.all_sent() && std::chrono::steady_clock::now() < until) SEQKV_TRY(poll());
  return {};
}

template <class ExecutionSpace>
Result<void> BatchRank<ExecutionSpace>::hand_over_up_to(std::int64_t tokens) {
  while (given_so_far_ < given_.size() && stops_[given_so_far_] <= tokens) {
    SEQKV_TRY(hand_over(*given_[given_so_far_++]));
  }
  return {};
}

template <class ExecutionSpace>
Result<void> BatchRank<ExecutionSpace>::poll() {
  SEQKV_TRY(control_.poll());
  for (;;) {
    SEQKV_ASSIGN(auto message, mail_.poll());
    if (!message) return {};
    const std::uint64_t number = CodedPrefix::handover_of(message->bytes);
    if (number >= plan_.handovers.size()) return Error(ErrorCode::internal, "a prefix that is not in the plan");
    report_.received_bytes += std::ssize(message->bytes);
    const auto bytes = std::make_shared<const std::vector<std::byte>>(std::move(message->bytes));
    for (const int rank : plan_.handovers[number].to(communicator_.rank())) {
      SEQKV_TRY(mail_.post(bytes, rank));
      report_.sent_bytes += std::ssize(*bytes);
    }
    arrived_[number] = bytes;
  }
}

/// What has come, in the order of depth.
template <class ExecutionSpace>
Result<void> BatchRank<ExecutionSpace>::take_arrived() {
  const Stopwatch watch(report_.hand_over);
  while (taken_so_far_ < taken_.size()) {
    auto& bytes = arrived_[static_cast<std::size_t>(taken_[taken_so_far_] - plan_.handovers.data())];
    if (bytes == nullptr) return {};
    SEQKV_ASSIGN(const CodedPrefix prefix, CodedPrefix::from_bytes(*bytes));
    KvShape shape = worker_.store().parameters().shape;
    shape.dtype = DType::f32;
    SEQKV_ASSIGN(KvCache values, prefix.decode(space_, shape, jobs_.front().tokens));
    for (const BlockRow& row : prefix.rows) worker_.store().state().epoch->promise(row);
    const std::int64_t tokens = prefix.first_token + values.tokens();
    SEQKV_TRY(
        worker_.supply(TokenSpan(jobs_.front().tokens).first(static_cast<std::size_t>(tokens)), std::move(values)));
    bytes.reset();
    ++taken_so_far_;
  }
  return {};
}

template <class ExecutionSpace>
Result<void> BatchRank<ExecutionSpace>::wait_for(std::int64_t blocks) {
  const auto there = [this] { return taken_so_far_ == 0 ? 0 : taken_[taken_so_far_ - 1]->last_block; };
  const auto next_is_there = [this] {
    return arrived_[static_cast<std::size_t>(taken_[taken_so_far_] - plan_.handovers.data())] != nullptr;
  };
  while (there() < blocks) {
    if (taken_so_far_ == taken_.size()) return Error(ErrorCode::internal, "the plan hands over too little");
    {
      const Stopwatch watch(report_.wait);
      Patience patience;
      while (!next_is_there() && !control_.over()) {
        SEQKV_TRY(poll());
        patience.pause();
      }
    }
    if (!next_is_there()) return {};
    SEQKV_TRY(take_arrived());
  }
  return {};
}

// ---- sessions ---------------------------------------------------------------------------------------------

template <class ExecutionSpace>
Result<void> BatchRank<ExecutionSpace>::run_session(std::size_t session) {
  const store::BatchJob& job = jobs_[session];
  const bool gives = session + 1 == jobs_.size();
  store::BatchHooks hooks;
  if (gives) hooks.stops = stops_;
  hooks.reached = [this](std::int64_t tokens) { return hand_over_up_to(tokens); };
  hooks.look_up = [this]() -> Result<void> {
    SEQKV_TRY(poll());
    if (!control_.stopping()) return {};
    return Error(ErrorCode::interrupted, "dropped");
  };
  auto row = worker_.run(job, hooks);
  if (!row) {
    if (row.error().code == ErrorCode::interrupted) return std::move(row).error();
    return std::move(row).error().at_field(
        fmt::format("manifest line {}, session '{}'", job.line->line, job.line->session));
  }
  if (gives && given_so_far_ < given_.size()) {  // the store had it, or all of it is wanted
    SEQKV_TRY(worker_.reach(job, stops_.back()));
    SEQKV_TRY(hand_over_up_to(stops_.back()));
  }
  ++report_.sessions;
  report_.new_tokens += row->new_tokens;
  report_.new_bytes += row->new_bytes;
  finished_.emplace_back(job.row, std::move(*row));
  return control_.count();
}

template <class ExecutionSpace>
Result<void> BatchRank<ExecutionSpace>::work() {
  while (next_ > 0) {
    SEQKV_TRY(poll());
    if (control_.over()) return {};
    SEQKV_TRY(wait_for(wanted_[next_ - 1]));
    if (control_.over()) return {};
    SEQKV_TRY(run_session(next_ - 1));
    --next_;
  }
  return {};
}

// ---- commits ----------------------------------------------------------------------------------------------

template <class ExecutionSpace>
Result<void> BatchRank<ExecutionSpace>::commit_rows(const Result<void>& mine) {
  store::Epoch& epoch = *worker_.store().state().epoch;
  Store::State& state = worker_.store().state();
  Result<void> status = mine;
  std::vector<std::byte> number(sizeof(std::int64_t));
  if (communicator_.rank() == 0) {
    const auto sequence = store::next_sequence(state);
    if (!sequence && status) status = sequence.error();
    store_le<std::int64_t>(number.data(), sequence ? *sequence : 1);
  }
  SEQKV_TRY(communicator_.broadcast(number, 0));
  SEQKV_ASSIGN(const std::int64_t before, communicator_.sum_before(epoch.sessions()));
  // Data first: what a rank could not make durable is not named.
  auto rows = epoch.close(load_le<std::int64_t>(number.data()) + before);
  if (!rows && status) status = rows.error();
  SEQKV_ASSIGN(const RankBytes all, communicator_.gather(rows ? *rows : std::vector<std::byte>(), 0));
  if (communicator_.rank() == 0) {
    std::vector<std::span<const std::byte>> parts;
    std::size_t at = 0;
    for (const std::int64_t size : all.sizes) {
      parts.push_back(std::span(all.bytes).subspan(at, static_cast<std::size_t>(size)));
      at += static_cast<std::size_t>(size);
    }
    const Stopwatch watch(report_.index);
    const auto totals = store::commit_epochs(state, options_.codec, parts);
    if (!totals && status) status = totals.error();
    if (totals && totals->left_out > 0 && status) {
      status = Error(ErrorCode::internal,
                     fmt::format("{} blocks or sessions do not follow from what is stored", totals->left_out));
    }
  }
  return communicator_.agree(status);
}

template <class ExecutionSpace>
Result<bool> BatchRank<ExecutionSpace>::commit(const Result<void>& mine) {
  const Stopwatch watch(report_.commit);
  Result<void> status = mine;
  if (!status && status.error().code == ErrorCode::interrupted) status = {};
  if (const auto mail = communicator_.barrier([this] { return poll(); }); !mail && status) status = mail;
  const bool ours = worker_.store().state().epoch->sessions() > 0;
  SEQKV_TRY(commit_rows(status));
  worker_.store().state().epoch->begin_next();
  rows_.insert(rows_.end(), std::make_move_iterator(finished_.begin()), std::make_move_iterator(finished_.end()));
  finished_.clear();
  std::array<std::int64_t, 3> sums = {static_cast<std::int64_t>(next_), control_.stopping() ? 1 : 0, ours ? 1 : 0};
  SEQKV_TRY(communicator_.reduce(sums, Reduction::sum));
  left_ = sums[0];
  epochs_ += sums[2] > 0 ? 1 : 0;
  control_.begin_next();
  if (sums[1] > 0 && left_ > 0) {
    control_.stop();
    return false;
  }
  return left_ > 0;
}

template <class ExecutionSpace>
Result<void> BatchRank<ExecutionSpace>::run() {
  Result<bool> more = true;
  while (more && *more) {
    const Result<void> status = work();
    if (!status && status.error().code != ErrorCode::interrupted) {
      if (const auto asked = control_.ask(false); !asked) return asked;
    }
    more = commit(status);
  }
  if (more || more.error().code != ErrorCode::communication) {
    // What nobody took any more: of ranks that stopped.
    SEQKV_ASSIGN(const auto late, mail_.drain());
    (void)late;
    SEQKV_TRY(control_.drain());
  }
  if (!more) return std::move(more).error();
  return {};
}

#define SEQKV_INSTANTIATE(Space) template class BatchRank<Space>;
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)
#undef SEQKV_INSTANTIATE

}  // namespace seqkv::mpi
