// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// What runs the sessions of a batch, one after the other, for a batch alone and for a rank of many.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "seqkv/batch.hpp"

namespace seqkv::store {

/// A session with its input read and checked.
struct BatchJob {
  const ManifestLine* line = nullptr;
  std::size_t row = 0;  ///< place in the report
  std::vector<Token> tokens;
  bool from_kv = false;
  Sharing sharing = Sharing::by_tokens;
};

/// The tokens of a line, everything checked that can be checked before work starts. Errors name line and session.
template <class ExecutionSpace>
Result<BatchJob> read_job(const Model<ExecutionSpace>& model, const ManifestLine& line,
                          const StoreParameters& parameters);

/// What others want of a session on its way.
struct BatchHooks {
  /// Ascending numbers of tokens: up to there the session is computed and its blocks are written, then `reached` is
  /// called. Not called where the store has the whole session.
  std::span<const std::int64_t> stops;
  std::function<Result<void>(std::int64_t)> reached;
  /// Called every few hundred tokens; an error drops the session, and is returned.
  std::function<Result<void>()> look_up;
};

/// Where the time went.
struct BatchSeconds {
  double model = 0;
  double codec = 0;  ///< with reading and writing of records
};

template <class ExecutionSpace>
class BatchWorker {
 public:
  virtual ~BatchWorker() = default;

  /// Brings a session into the store, unless it is there.
  virtual Result<BatchRow> run(const BatchJob& job, const BatchHooks& hooks = {}) = 0;
  /// Has the model's cache of the first `tokens` in memory.
  virtual Result<void> reach(const BatchJob& job, std::int64_t tokens) = 0;
  /// The cache in memory of tokens [first, first + out.tokens), as it was computed where out is f32.
  virtual Result<void> read(std::int64_t first, const KvView& out) = 0;
  /// Values in f32, computed elsewhere, of the tokens behind those supplied before (or from the first on): sessions
  /// that begin with `prefix` go on from them.
  virtual Result<void> supply(TokenSpan prefix, KvCache values) = 0;

  virtual Store& store() = 0;
  virtual const BatchSeconds& seconds() const = 0;
};

/// The options outlive it.
template <class ExecutionSpace>
Result<std::unique_ptr<BatchWorker<ExecutionSpace>>> make_batch_worker(
    const ExecutionSpace& space, std::shared_ptr<const Model<ExecutionSpace>> model, Store store,
    const BatchOptions& options);

}  // namespace seqkv::store
