// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Writing to the disk while the rest of a file is still made.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>

namespace seqkv::io {

/// So many bytes make a request worth while.
inline constexpr std::int64_t worth_a_flush = 32LL << 20;

/// Has the system write what is in its cache of a file, again and again, from a thread of its own: the call waits where
/// the queue of the disk is full, and whoever makes the file should not. The thread sleeps all the time but for that.
class EarlyFlush {
 public:
  /// The descriptor must stay open as long as the object lives.
  explicit EarlyFlush(int file);
  ~EarlyFlush();
  EarlyFlush(const EarlyFlush&) = delete;
  EarlyFlush& operator=(const EarlyFlush&) = delete;

  /// Once more, with what has been written until now. Does not wait. Errors of the disk show in fsync.
  void request();

 private:
  void run();

  int file_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool requested_ = false;
  bool ended_ = false;
  std::thread thread_;
};

}  // namespace seqkv::io
