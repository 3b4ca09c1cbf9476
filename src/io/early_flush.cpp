// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "io/early_flush.hpp"

#include <fcntl.h>

namespace seqkv::io {

EarlyFlush::EarlyFlush(int file) : file_(file), thread_([this]() { run(); }) {}

EarlyFlush::~EarlyFlush() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void EarlyFlush::request() {
  {
    const std::lock_guard lock(mutex_);
    requested_ = true;
  }
  changed_.notify_one();
}

void EarlyFlush::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this]() { return requested_ || ended_; });
    if (ended_) return;
    requested_ = false;
    lock.unlock();
#if defined(SYNC_FILE_RANGE_WRITE)
    ::sync_file_range(file_, 0, 0, SYNC_FILE_RANGE_WRITE);
#endif
    lock.lock();
  }
}

}  // namespace seqkv::io
