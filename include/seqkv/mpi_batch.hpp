// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Batches on many ranks: one job, one store, each shared prefix computed once (docs/mpi.md).
#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "seqkv/batch.hpp"
#include "seqkv/mpi.hpp"

namespace seqkv::mpi {

struct BatchSettings {
  /// After so long what all ranks have finished is committed. What is not is lost when a rank dies.
  double epoch_seconds = 60;
};

/// What a rank did, in seconds of its own clock.
struct RankReport {
  int rank = 0;
  std::int64_t sessions = 0;
  std::int64_t new_tokens = 0;      ///< that went through the model
  std::int64_t new_bytes = 0;       ///< written to its packs
  std::int64_t sent_bytes = 0;      ///< of prefixes, coded
  std::int64_t received_bytes = 0;  ///< the same
  double read = 0;                  ///< its lines of the manifest, and the plan
  double model = 0;
  double codec = 0;      ///< with reading and writing of records
  double hand_over = 0;  ///< coding prefixes for others, decoding those of others
  double wait = 0;       ///< for prefixes that others compute
  double commit = 0;     ///< waiting for the others, making durable, the index
  double index = 0;      ///< of that, on rank 0: the rows of all ranks into the index
  double total = 0;
};

struct BatchReport {
  seqkv::BatchReport batch;       ///< on rank 0, elsewhere without rows
  std::vector<RankReport> ranks;  ///< on rank 0
  std::int64_t epochs = 0;        ///< commits
  double planned_most = 0;        ///< cost of the plan's fullest rank, by its mean
};

/// Collective. As seqkv::run_batch, with all ranks of `communicator`: each has a part of the sessions, which depends on
/// the manifest and the number of ranks alone, and writes packs of its own; rank 0 keeps the index. What is stored is
/// the same for any number of ranks, but where `PrefixPolicy::restore` or the order of sessions with given values says
/// otherwise. Where `options.stop` becomes true on any rank, all drop the session in hand, commit and return
/// `interrupted`. `progress` is called on rank 0 and counts sessions of all ranks; rows are those of rank 0. Errors,
/// the same on all ranks: those of seqkv::run_batch; ranks_differ, communication. Sessions finished before an error are
/// stored.
template <class ExecutionSpace>
Result<BatchReport> run_batch(const ExecutionSpace& space, const Communicator& communicator,
                              std::shared_ptr<const Model<ExecutionSpace>> model, const std::filesystem::path& store,
                              const std::vector<ManifestLine>& manifest, const BatchOptions& options,
                              const BatchSettings& settings = {}, const BatchProgress& progress = {});

/// Collective. Whether all ranks were given the same manifest, model, options and version.
/// Errors: ranks_differ, with the first rank that differs from rank 0 and in what.
Result<void> check_same(const Communicator& communicator, const Digest& model,
                        const std::vector<ManifestLine>& manifest, const BatchOptions& options);

}  // namespace seqkv::mpi
