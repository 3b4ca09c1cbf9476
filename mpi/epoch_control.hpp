// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// When an epoch of a batch is over: rank 0 says so, by its clock or because some rank asks for it. Small messages that
/// are looked at between other things.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>

#include "seqkv/mpi.hpp"

namespace seqkv::mpi {

class EpochControl {
 public:
  /// `stop` may be null. `counted` is called on rank 0 with the number of sessions that all ranks have finished.
  EpochControl(const Communicator& communicator, double epoch_seconds, const std::atomic<bool>* stop,
               std::function<void(std::int64_t)> counted);

  /// Takes what has come. To be called often.
  Result<void> poll();
  /// Asks for the end of this epoch; of the whole job, if `stop`.
  Result<void> ask(bool stop);
  /// A session more is finished here.
  Result<void> count();

  /// Whether all are to commit now.
  bool over() const noexcept { return ordered_ >= epoch_; }
  /// Whether the job is to stop: what is in hand is dropped.
  bool stopping() const noexcept { return stopping_; }
  /// Some rank was told to, as all know now.
  void stop() noexcept { stopping_ = true; }

  /// After a commit.
  void begin_next();
  /// Collective; at the end.
  Result<void> drain();

 private:
  using Clock = std::chrono::steady_clock;
  enum class Kind : std::uint8_t { counted, ask, ask_stop, order, order_stop };

  Result<void> post(Kind kind, std::int64_t number, int to);
  Result<void> take(const Message& message);
  Result<void> order(bool stop);

  const Communicator& communicator_;
  Mailbox mail_;
  double epoch_seconds_;
  const std::atomic<bool>* stop_;
  std::function<void(std::int64_t)> counted_;
  Clock::time_point begun_ = Clock::now();
  Clock::time_point told_ = Clock::now();
  std::int64_t epoch_ = 0;
  std::int64_t ordered_ = -1;
  bool asked_ = false;
  bool stopping_ = false;
  std::int64_t finished_ = 0;           ///< here
  std::vector<std::int64_t> of_ranks_;  ///< on rank 0
};

}  // namespace seqkv::mpi
