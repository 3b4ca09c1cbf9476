// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// What to ask the disk for while something else is used.
#pragma once

#include <cstdint>
#include <deque>

namespace seqkv::io {

/// So many bytes are asked for before they are used: a disk is fast when it has something to do.
inline constexpr std::int64_t read_ahead_bytes = 64LL << 20;

/// Keeps numbered items on their way from the disk, ahead of the one that is used.
class ReadAhead {
 public:
  /// Item `now` of `items` is used next; they are used in order. Calls ask(item), which gives its bytes, for each item
  /// that is to be asked for: always the next one, and more if they are small.
  template <class Ask>
  void move_to(std::int64_t now, std::int64_t items, const Ask& ask) {
    if (now == 0) *this = {};
    for (; !asked_.empty() && first_ < now; ++first_) {
      bytes_ -= asked_.front();
      asked_.pop_front();
    }
    if (asked_.empty()) first_ = now;
    for (std::int64_t next = first_ + size(); next < items && (bytes_ < read_ahead_bytes || size() < 2); ++next) {
      asked_.push_back(ask(next));
      bytes_ += asked_.back();
    }
  }

 private:
  std::int64_t size() const { return static_cast<std::int64_t>(asked_.size()); }

  std::deque<std::int64_t> asked_;  ///< bytes of items from first_ on
  std::int64_t first_ = 0;
  std::int64_t bytes_ = 0;
};

}  // namespace seqkv::io
