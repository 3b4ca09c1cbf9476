// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <csignal>

#include "cli/command.hpp"

namespace seqkv::cli {
namespace {

std::atomic<bool> stop_requested{false};

void request_stop(int signal) {
  stop_requested = true;
  std::signal(signal, SIG_DFL);
}

}  // namespace

void remember_warning() { std::signal(SIGUSR1, request_stop); }

const std::atomic<bool>& stop_on_signal() {
  std::signal(SIGINT, request_stop);
  std::signal(SIGTERM, request_stop);
  return stop_requested;
}

}  // namespace seqkv::cli
