// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <set>

#include "core/bytes.hpp"
#include "core/execution_spaces.hpp"
#include "core/try.hpp"
#include "mpi/batch_rank.hpp"
#include "mpi/report_bytes.hpp"
#include "store/epoch.hpp"
#include "store/identity.hpp"

namespace seqkv::mpi {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// What attention adds to a token at a later position, by what a token costs without it.
TokenCost cost_of(const ModelConfig& config) {
  const auto hidden = static_cast<double>(config.hidden);
  const auto queries = static_cast<double>(config.query_heads * config.head_dim);
  const auto keys = static_cast<double>(config.kv_heads * config.head_dim);
  const double weights =
      2 * hidden * queries + 2 * hidden * keys + 3 * hidden * static_cast<double>(config.intermediate);
  TokenCost cost;
  cost.by_position = 2 * queries / weights;
  return cost;
}

/// A rank's share of the manifest, on its way to those who need it.
class Reading {
 public:
  template <class ExecutionSpace>
  Result<void> read(const Communicator& communicator, const Model<ExecutionSpace>& model, const Store::State& state,
                    const std::vector<const ManifestLine*>& lines) {
    for (std::size_t i = static_cast<std::size_t>(communicator.rank()); i < lines.size();
         i += static_cast<std::size_t>(communicator.size())) {
      SEQKV_ASSIGN(store::BatchJob job, store::read_job(model, *lines[i], state.parameters));
      job.row = i;
      jobs.push_back(std::move(job));
    }
    return {};
  }

  /// Of every session what the plan needs, on all ranks.
  Result<std::vector<PlanSession>> share(const Communicator& communicator, const Store::State& state,
                                         std::size_t all) const {
    ByteWriter out;
    for (const store::BatchJob& job : jobs) {
      std::vector<Digest> identities;
      if (job.sharing == Sharing::by_tokens) {
        identities = store::block_identities(state.root, job.tokens, state.parameters.block_tokens);
      }
      out.put(static_cast<std::uint64_t>(job.row));
      out.put(static_cast<std::int64_t>(job.tokens.size()));
      out.put(static_cast<std::uint8_t>(!job.from_kv));
      out.put(static_cast<std::uint64_t>(identities.size()));
      for (const Digest& identity : identities) out.put(std::span(identity.bytes).first(sizeof(BlockKey)));
    }
    SEQKV_ASSIGN(const RankBytes shared, communicator.all_gather(std::move(out).take()));
    std::vector<PlanSession> sessions(all);
    ByteReader in(shared.bytes);
    while (in.ok() && in.remaining() > 0) {
      const auto row = in.get<std::uint64_t>();
      if (row >= all) break;
      PlanSession& session = sessions[row];
      session.tokens = in.get<std::int64_t>();
      session.computed = in.get<std::uint8_t>() != 0;
      for (auto left = in.get<std::uint64_t>(); left > 0 && in.ok(); --left) {
        BlockKey& key = session.blocks.emplace_back();
        for (std::uint64_t& part : key) part = in.get<std::uint64_t>();
      }
    }
    if (in.ok() && in.remaining() == 0) return sessions;
    return Error(ErrorCode::internal, "sessions of another rank that do not end where they should");
  }

  /// The sessions of this rank's piece, in its order, from whoever has read them.
  Result<std::vector<store::BatchJob>> deal(const Communicator& communicator, const Plan& plan,
                                            const std::vector<const ManifestLine*>& lines) {
    std::vector<std::pair<int, std::size_t>> runs(
        lines.size());  // of a line: the rank that runs it, and its place there
    for (int r = 0; r < communicator.size(); ++r) {
      const auto begin = static_cast<std::size_t>(plan.first[static_cast<std::size_t>(r)]);
      const auto end = static_cast<std::size_t>(plan.first[static_cast<std::size_t>(r) + 1]);
      for (std::size_t i = begin; i < end; ++i) runs[static_cast<std::size_t>(plan.order[i])] = {r, i - begin};
    }
    std::vector<ByteWriter> parts(static_cast<std::size_t>(communicator.size()));
    for (const store::BatchJob& job : jobs) {
      ByteWriter& out = parts[static_cast<std::size_t>(runs[job.row].first)];
      out.put(static_cast<std::uint64_t>(job.row));
      out.put(static_cast<std::uint8_t>(job.from_kv));
      out.put(static_cast<std::uint8_t>(job.sharing));
      out.put(static_cast<std::uint64_t>(job.tokens.size()));
      out.put(std::as_bytes(std::span(job.tokens)));
    }
    jobs.clear();
    ByteWriter all;
    std::vector<std::int64_t> sizes;
    for (ByteWriter& part : parts) {
      sizes.push_back(static_cast<std::int64_t>(part.size()));
      all.put(std::move(part).take());
    }
    SEQKV_ASSIGN(const RankBytes received, communicator.all_to_all(std::move(all).take(), sizes));
    const auto me = static_cast<std::size_t>(communicator.rank());
    std::vector<store::BatchJob> mine(static_cast<std::size_t>(plan.first[me + 1] - plan.first[me]));
    ByteReader in(received.bytes);
    while (in.ok() && in.remaining() > 0) {
      const auto row = in.get<std::uint64_t>();
      if (row >= runs.size() || runs[row].second >= mine.size()) break;
      store::BatchJob& job = mine[runs[row].second];
      job.line = lines[row];
      job.row = row;
      job.from_kv = in.get<std::uint8_t>() != 0;
      job.sharing = static_cast<Sharing>(in.get<std::uint8_t>());
      job.tokens.resize(in.get<std::uint64_t>());
      std::ranges::copy(in.get_bytes(job.tokens.size() * sizeof(Token)),
                        std::as_writable_bytes(std::span(job.tokens)).begin());
    }
    if (in.ok() && in.remaining() == 0) return mine;
    return Error(ErrorCode::internal, "tokens of another rank that do not end where they should");
  }

  std::vector<store::BatchJob> jobs = {};
};

/// Rank 0 opens the store, makes it if there is none, and holds its lock; then the others open it for reading. Each
/// writes to packs of its own.
Result<Store> open_store(const Communicator& communicator, const std::filesystem::path& folder,
                         const StoreParameters& parameters, const StoreAccess& access) {
  std::optional<Store> store;
  std::vector<std::byte> number(sizeof(std::int64_t));
  const auto open_first = [&]() -> Result<void> {
    SEQKV_ASSIGN(store, Store::open_for_writing(folder, parameters, access));
    SEQKV_TRY(store::remove_unknown_packs(store->state()));
    SEQKV_ASSIGN(const std::int64_t pack, store::next_pack(store->state()));
    store_le(number.data(), pack);
    return {};
  };
  SEQKV_TRY(communicator.agree(communicator.rank() == 0 ? open_first() : Result<void>()));
  SEQKV_TRY(communicator.broadcast(number, 0));
  const auto open_other = [&]() -> Result<void> {
    SEQKV_ASSIGN(store, Store::open(folder, access));
    return {};
  };
  SEQKV_TRY(communicator.agree(communicator.rank() == 0 ? Result<void>() : open_other()));
  Store::State& state = store->state();
  state.epoch = std::make_shared<store::Epoch>(state);
  state.epoch->pack().number_packs(load_le<std::int64_t>(number.data()) + communicator.rank(), communicator.size());
  return std::move(*store);
}

/// Lines that are to be run: with --restart those of sessions that are not in the store, as rank 0 sees it.
Result<std::vector<const ManifestLine*>> lines_to_run(const Communicator& communicator, const Store& store,
                                                      const std::vector<ManifestLine>& manifest, bool restart) {
  std::vector<std::byte> wanted(manifest.size(), std::byte{1});
  const auto look = [&]() -> Result<void> {
    SEQKV_ASSIGN(const auto sessions, store.sessions());
    std::set<std::string> stored;
    for (const SessionInfo& session : sessions) stored.insert(session.name);
    for (std::size_t i = 0; i < manifest.size(); ++i) {
      if (stored.contains(manifest[i].session)) wanted[i] = std::byte{0};
    }
    return {};
  };
  if (restart) {
    SEQKV_TRY(communicator.agree(communicator.rank() == 0 ? look() : Result<void>()));
    SEQKV_TRY(communicator.broadcast(wanted, 0));
  }
  std::vector<const ManifestLine*> lines;
  for (std::size_t i = 0; i < manifest.size(); ++i) {
    if (wanted[i] != std::byte{0}) lines.push_back(&manifest[i]);
  }
  return lines;
}

/// Whether the values a rank has computed of a prefix are those that another would have.
bool may_hand_over(const BatchOptions& options) {
  const bool same_bits = options.codec.is_exact() && options.dtype == DType::f32;
  return !options.codec.needs_model() && (options.prefix == PrefixPolicy::exact || same_bits);
}

}  // namespace

template <class ExecutionSpace>
Result<BatchReport> run_batch(const ExecutionSpace& space, const Communicator& communicator,
                              std::shared_ptr<const Model<ExecutionSpace>> model, const std::filesystem::path& folder,
                              const std::vector<ManifestLine>& manifest, const BatchOptions& options,
                              const BatchSettings& settings, const BatchProgress& progress) {
  const auto start = Clock::now();
  RankReport mine;
  mine.rank = communicator.rank();
  SEQKV_TRY(check_same(communicator, model->fingerprint().combined(), manifest, options));
  const StoreParameters parameters{model->config().kv_shape(options.dtype), model->fingerprint().combined(),
                                   options.block_tokens, options.protection};
  SEQKV_ASSIGN(Store opened, open_store(communicator, folder, parameters, options.access));
  SEQKV_ASSIGN(const auto lines, lines_to_run(communicator, opened, manifest, options.restart));
  SEQKV_ASSIGN(auto worker, communicator.agree(store::make_batch_worker(space, model, std::move(opened), options)));
  const Store::State& state = worker->store().state();

  Reading reading;
  SEQKV_TRY(communicator.agree(reading.read(communicator, *model, state, lines)));
  SEQKV_ASSIGN(const auto sessions, communicator.agree(reading.share(communicator, state, lines.size())));
  const Plan plan =
      make_plan(sessions, options.block_tokens, communicator.size(), cost_of(model->config()), may_hand_over(options));
  SEQKV_ASSIGN(const auto jobs, communicator.agree(reading.deal(communicator, plan, lines)));
  mine.read = seconds_since(start);

  const auto count = [&](std::int64_t done) {
    if (progress) progress(done, std::ssize(lines), {});
  };
  EpochControl control(communicator, settings.epoch_seconds, options.stop, count);
  BatchRank<ExecutionSpace> rank(space, communicator, plan, jobs, *worker, options, control, mine);
  SEQKV_TRY(rank.run());
  mine.model = worker->seconds().model;
  mine.codec = worker->seconds().codec;
  mine.total = seconds_since(start);

  BatchReport report;
  report.epochs = rank.epochs();
  report.planned_most = plan.mean > 0 ? plan.most / plan.mean : 1;
  report.batch.interrupted = rank.interrupted();
  SEQKV_ASSIGN(const RankBytes all, communicator.gather(to_bytes(mine, rank.rows()), 0));
  SEQKV_TRY(communicator.agree(communicator.rank() == 0 ? read_reports(all, report) : Result<void>()));
  return report;
}

#define SEQKV_INSTANTIATE(Space)                                                                                 \
  template Result<BatchReport> run_batch(const Space&, const Communicator&, std::shared_ptr<const Model<Space>>, \
                                         const std::filesystem::path&, const std::vector<ManifestLine>&,         \
                                         const BatchOptions&, const BatchSettings&, const BatchProgress&);
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)
#undef SEQKV_INSTANTIATE

}  // namespace seqkv::mpi
