// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "mpi/epoch_control.hpp"

#include <algorithm>
#include <numeric>

#include "core/bytes.hpp"
#include "core/try.hpp"

namespace seqkv::mpi {

constexpr int control_tag = 1;

EpochControl::EpochControl(const Communicator& communicator, double epoch_seconds, const std::atomic<bool>* stop,
                           std::function<void(std::int64_t)> counted)
    : communicator_(communicator),
      mail_(communicator, control_tag),
      epoch_seconds_(epoch_seconds),
      stop_(stop),
      counted_(std::move(counted)),
      of_ranks_(communicator.rank() == 0 ? static_cast<std::size_t>(communicator.size()) : 0) {}

Result<void> EpochControl::post(Kind kind, std::int64_t number, int to) {
  ByteWriter out;
  out.put(static_cast<std::uint8_t>(kind));
  out.put(number);
  return mail_.post(std::move(out).take(), to);
}

/// On rank 0.
Result<void> EpochControl::order(bool stop) {
  if (over() && (stopping_ || !stop)) return {};
  ordered_ = epoch_;
  stopping_ = stopping_ || stop;
  for (int r = 1; r < communicator_.size(); ++r) SEQKV_TRY(post(stop ? Kind::order_stop : Kind::order, epoch_, r));
  return {};
}

Result<void> EpochControl::ask(bool stop) {
  if (communicator_.rank() == 0) return order(stop);
  stopping_ = stopping_ || stop;
  if (asked_) return {};
  asked_ = true;
  return post(stop ? Kind::ask_stop : Kind::ask, epoch_, 0);
}

Result<void> EpochControl::take(const Message& message) {
  ByteReader in(message.bytes);
  const auto kind = static_cast<Kind>(in.get<std::uint8_t>());
  const auto number = in.get<std::int64_t>();
  switch (kind) {
    case Kind::counted:
      if (communicator_.rank() == 0) {
        of_ranks_[static_cast<std::size_t>(message.source)] = number;
        counted_(std::accumulate(of_ranks_.begin(), of_ranks_.end(), std::int64_t{0}));
      }
      return {};
    case Kind::ask:
    case Kind::ask_stop:
      // One from before the last commit has been seen to in it.
      return number == epoch_ ? order(kind == Kind::ask_stop) : Result<void>();
    case Kind::order:
    case Kind::order_stop:
      ordered_ = std::max(ordered_, number);
      stopping_ = stopping_ || kind == Kind::order_stop;
      return {};
  }
  return Error(ErrorCode::internal, "an unknown message between ranks");
}

Result<void> EpochControl::poll() {
  for (;;) {
    SEQKV_ASSIGN(const auto message, mail_.poll());
    if (!message) break;
    SEQKV_TRY(take(*message));
  }
  if (stop_ != nullptr && stop_->load() && !stopping_) SEQKV_TRY(ask(true));
  if (communicator_.rank() != 0 || over()) return {};
  if (std::chrono::duration<double>(Clock::now() - begun_).count() < epoch_seconds_) return {};
  return order(false);
}

Result<void> EpochControl::count() {
  ++finished_;
  if (communicator_.rank() == 0) {
    of_ranks_[0] = finished_;
    counted_(std::accumulate(of_ranks_.begin(), of_ranks_.end(), std::int64_t{0}));
    return {};
  }
  if (Clock::now() - told_ < std::chrono::milliseconds(500)) return {};
  told_ = Clock::now();
  return post(Kind::counted, finished_, 0);
}

void EpochControl::begin_next() {
  ++epoch_;
  asked_ = false;
  begun_ = Clock::now();
}

Result<void> EpochControl::drain() {
  SEQKV_ASSIGN(const auto messages, mail_.drain());
  (void)messages;
  return {};
}

}  // namespace seqkv::mpi
