// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// A rank of a batch at work: its sessions, the prefixes it hands on and those it waits for, and the commits of all.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "mpi/epoch_control.hpp"
#include "mpi/plan.hpp"
#include "seqkv/mpi_batch.hpp"
#include "store/batch_worker.hpp"

namespace seqkv::mpi {

template <class ExecutionSpace>
class BatchRank {
 public:
  /// `jobs` are those of the rank's piece of the plan, in its order. All arguments outlive the object. The worker's
  /// store has an epoch.
  BatchRank(const ExecutionSpace& space, const Communicator& communicator, const Plan& plan,
            const std::vector<store::BatchJob>& jobs, store::BatchWorker<ExecutionSpace>& worker,
            const BatchOptions& options, EpochControl& control, RankReport& report);

  /// Collective. All sessions, or as far as it got. Errors are agreed on.
  Result<void> run();

  const std::vector<std::pair<std::size_t, BatchRow>>& rows() const { return rows_; }  ///< that are committed
  bool interrupted() const { return control_.stopping() && left_ > 0; }
  std::int64_t epochs() const { return epochs_; }

 private:
  Result<void> work();
  Result<void> run_session(std::size_t session);
  /// Looks for messages, and does what they want.
  Result<void> poll();
  /// Until the rank has the first blocks from others, or the epoch is over.
  Result<void> wait_for(std::int64_t blocks);
  Result<void> take_arrived();
  Result<void> hand_over(const Handover& handover);
  Result<void> hand_over_up_to(std::int64_t tokens);
  /// What all ranks have finished becomes visible; whether there is more to do.
  Result<bool> commit(const Result<void>& mine);
  Result<void> commit_rows(const Result<void>& mine);

  const ExecutionSpace& space_;
  const Communicator& communicator_;
  const Plan& plan_;
  const std::vector<store::BatchJob>& jobs_;
  store::BatchWorker<ExecutionSpace>& worker_;
  const BatchOptions& options_;
  EpochControl& control_;
  RankReport& report_;
  Mailbox mail_;

  std::vector<std::int64_t> wanted_;    ///< blocks from others, by session
  std::vector<const Handover*> given_;  ///< to others, by depth
  std::vector<const Handover*> taken_;  ///< from others, by depth
  std::vector<std::int64_t> stops_;     ///< tokens at which given_ are to be had
  std::size_t given_so_far_ = 0;
  std::size_t taken_so_far_ = 0;
  std::vector<std::shared_ptr<const std::vector<std::byte>>> arrived_;  ///< by their numbers in the plan; null: not yet
  std::size_t next_;                                                    ///< sessions in front of it are to be done
  std::vector<std::pair<std::size_t, BatchRow>> finished_;              ///< in this epoch
  std::vector<std::pair<std::size_t, BatchRow>> rows_;
  std::int64_t left_ = 1;  ///< sessions of all ranks, at the last commit
  std::int64_t epochs_ = 0;
};

}  // namespace seqkv::mpi
