// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The blocks of a transfer on their way: lanes, each with the buffers that some blocks need from reading to writing.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "backends/cpu/pipeline.hpp"
#include "core/guard_memory.hpp"
#include "core/try.hpp"
#include "seqkv/transfer.hpp"

namespace seqkv::codec {

using Clock = std::chrono::steady_clock;
inline double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Blocks that go together: [first, first + count).
struct Item {
  std::int64_t first = 0;
  std::int64_t count = 0;
};

/// How a transfer is divided.
struct Division {
  std::int64_t blocks = 0;
  std::int64_t per_item = 1;
  int cores = 1;
  bool code_alone = false;  ///< coding takes one item at a time, on all cores or on a device

  std::int64_t items() const { return (blocks + per_item - 1) / per_item; }
  Item item(std::int64_t number) const { return {number * per_item, std::min(per_item, blocks - number * per_item)}; }
};

/// Takes items through the stages of their lanes, and gives the first error in the order of blocks. A lane has
///   Result<void> read(Item), code(Item) and write(Item), and std::int64_t bytes() const: of memory that it takes.
template <class Lane>
class Lanes {
 public:
  /// At least one lane. `progress` is told each item that has been written.
  Lanes(std::vector<std::unique_ptr<Lane>> lanes, const Division& division, const TransferOptions& options,
        std::function<void(const Item&)> progress)
      : division_(division), options_(options), progress_(std::move(progress)) {
    for (auto& lane : lanes) slots_.push_back({std::move(lane), {}, 0, 0, 0});
  }

  Result<TransferReport> run() {
    cpu::run({division_.items(), static_cast<int>(slots_.size()), division_.cores, division_.code_alone,
              [this](std::int64_t item, int lane) { return read(item, slots_[lane]); },
              [this](std::int64_t item, int lane) { code(item, slots_[lane]); },
              [this](std::int64_t item, int lane) { write(item, slots_[lane]); }});
    if (error_) return std::move(*error_);
    TransferReport report;
    for (const Slot& slot : slots_) {
      report.read_seconds += slot.read_seconds;
      report.code_seconds += slot.code_seconds;
      report.write_seconds += slot.write_seconds;
    }
    report.cores = division_.cores;
    report.blocks_under_way = static_cast<int>(static_cast<std::int64_t>(slots_.size()) * division_.per_item);
    report.peak_bytes = most_items_ * slots_.front().lane->bytes();
    return report;
  }

 private:
  /// A lane, and how the item in it fares.
  struct Slot {
    std::unique_ptr<Lane> lane;
    std::optional<Error> error;
    double read_seconds, code_seconds, write_seconds;
  };

  bool read(std::int64_t number, Slot& slot) {
    if (failed_) return false;
    slot.error.reset();
    most_items_ = std::max(most_items_, number + 1 - written_.load());
    const Item item = division_.item(number);
    run_stage(slot, slot.read_seconds, item, [&]() { return slot.lane->read(item); });
    return true;
  }

  void code(std::int64_t number, Slot& slot) {
    if (slot.error) return;
    const Item item = division_.item(number);
    run_stage(slot, slot.code_seconds, item, [&]() { return slot.lane->code(item); });
  }

  void write(std::int64_t number, Slot& slot) {
    const Item item = division_.item(number);
    if (!slot.error && !error_) {
      run_stage(slot, slot.write_seconds, item, [&]() -> Result<void> {
        SEQKV_TRY(slot.lane->write(item));
        progress_(item);
        return {};
      });
    }
    if (slot.error && !error_) error_ = std::move(slot.error);
    ++written_;
  }

  /// Whatever goes wrong is an error of the item.
  template <class Stage>
  void run_stage(Slot& slot, double& seconds, const Item& item, const Stage& stage) {
    const auto start = Clock::now();
    Result<void> status = attempt(stage);
    seconds += seconds_since(start);
    if (status) return;
    slot.error = std::move(status).error();
    if (slot.error->file.empty()) slot.error = Error(std::move(*slot.error).in_block(item.first));
    failed_ = true;
  }

  template <class Stage>
  Result<void> attempt(const Stage& stage) const {
    if (options_.stop != nullptr && *options_.stop) return Error(ErrorCode::interrupted, "stopped before the end");
    try {
      return guard_memory("for a block on its way", stage);
    } catch (const std::exception& problem) {
      return Error(ErrorCode::internal, problem.what());
    }
  }

  Division division_;
  const TransferOptions& options_;
  std::function<void(const Item&)> progress_;
  std::vector<Slot> slots_;
  std::atomic<bool> failed_{false};       ///< no more items are to be read
  std::atomic<std::int64_t> written_{0};  ///< items
  std::int64_t most_items_ = 0;           ///< under way at a time; the reading stage's
  std::optional<Error> error_;            ///< the first in order; the writing stage's
};

}  // namespace seqkv::codec
