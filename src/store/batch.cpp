// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "seqkv/batch.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "core/execution_spaces.hpp"
#include "core/try.hpp"
#include "store/batch_worker.hpp"

namespace seqkv {
namespace {

using Job = store::BatchJob;

}  // namespace

template <class ExecutionSpace>
Result<BatchReport> run_batch(const ExecutionSpace& space, std::shared_ptr<const Model<ExecutionSpace>> model,
                              const std::filesystem::path& folder, const std::vector<ManifestLine>& manifest,
                              const BatchOptions& options, const BatchProgress& progress) {
  const StoreParameters parameters{model->config().kv_shape(options.dtype), model->fingerprint().combined(),
                                   options.block_tokens, options.protection};
  std::vector<Job> jobs;
  std::set<std::string> stored;
  if (options.restart && Store::exists(folder)) {
    SEQKV_ASSIGN(const Store store, Store::open(folder, options.access));
    SEQKV_ASSIGN(const auto sessions, store.sessions());
    for (const SessionInfo& session : sessions) stored.insert(session.name);
  }
  for (const ManifestLine& line : manifest) {
    if (stored.contains(line.session)) continue;
    SEQKV_ASSIGN(Job job, store::read_job(*model, line, parameters));
    job.row = jobs.size();
    jobs.push_back(std::move(job));
  }
  SEQKV_ASSIGN(Store store, Store::open_for_writing(folder, parameters, options.access));
  SEQKV_ASSIGN(const auto worker, store::make_batch_worker(space, model, std::move(store), options));

  // Neighbors in this order share the longest prefixes.
  std::stable_sort(jobs.begin(), jobs.end(), [](const Job& a, const Job& b) { return a.tokens < b.tokens; });
  std::vector<std::optional<BatchRow>> rows(jobs.size());
  BatchReport report;
  std::int64_t done = 0;
  for (const Job& job : jobs) {
    if (options.stop != nullptr && options.stop->load()) {
      report.interrupted = true;
      break;
    }
    auto row = worker->run(job, {});
    if (!row)
      return std::move(row).error().at_field(
          fmt::format("manifest line {}, session '{}'", job.line->line, job.line->session));
    if (progress) progress(++done, static_cast<std::int64_t>(jobs.size()), *row);
    rows[job.row] = std::move(row).value();
  }
  for (auto& row : rows) {
    if (row) report.rows.push_back(std::move(*row));
  }
  return report;
}

#define SEQKV_INSTANTIATE(Space)                                                                         \
  template Result<BatchReport> run_batch(const Space&, std::shared_ptr<const Model<Space>>,              \
                                         const std::filesystem::path&, const std::vector<ManifestLine>&, \
                                         const BatchOptions&, const BatchProgress&);
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)
#undef SEQKV_INSTANTIATE

}  // namespace seqkv
