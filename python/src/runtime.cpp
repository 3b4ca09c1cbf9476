// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "runtime.hpp"

#include <csignal>
#include <mutex>

#include "seqkv/cores.hpp"

namespace seqkv::python {
namespace {

std::mutex starting;
int wanted_threads = 0;

std::atomic<bool> stopped = false;
struct sigaction python_handler = {};

void on_interrupt(int signal) {
  stopped = true;
  if (python_handler.sa_handler != SIG_DFL && python_handler.sa_handler != SIG_IGN) python_handler.sa_handler(signal);
}

}  // namespace

void fail(ErrorCode code, std::string message) { throw Failure{Error(code, std::move(message))}; }

Digest digest_of(const std::string& hex) {
  Digest digest;
  if (!hex.empty() && !Digest::parse(hex, digest)) {
    fail(ErrorCode::invalid_argument, "a fingerprint is 64 hexadecimal digits");
  }
  return digest;
}

std::string hex_of(const Digest& digest) { return digest.is_zero() ? std::string() : digest.hex(); }

void start() {
  const std::lock_guard lock(starting);
  if (Kokkos::is_initialized()) return;
  Kokkos::InitializationSettings settings;
  settings.set_disable_warnings(true);
  settings.set_num_threads(wanted_threads > 0 ? wanted_threads : available_cores());
  Kokkos::initialize(settings);
}

void set_threads(int count) {
  const std::lock_guard lock(starting);
  if (count < 1 || count > 4096) fail(ErrorCode::invalid_argument, "threads are 1 to 4096");
  if (Kokkos::is_initialized() && count != Space().concurrency()) {
    fail(ErrorCode::invalid_argument, "the number of threads is set before the first call that computes");
  }
  wanted_threads = count;
}

int threads() {
  start();
  return Space().concurrency();
}

Interrupt::Interrupt() {
  if (PyErr_CheckSignals() != 0) throw nb::python_error();
  const nb::module_ threading = nb::module_::import_("threading");
  if (!threading.attr("current_thread")().is(threading.attr("main_thread")())) return;  // which has the signals
  struct sigaction mine = {};
  mine.sa_handler = on_interrupt;
  stopped = false;
  installed_ = ::sigaction(SIGINT, &mine, &python_handler) == 0;
}

Interrupt::~Interrupt() {
  if (installed_) ::sigaction(SIGINT, &python_handler, nullptr);
}

const std::atomic<bool>* Interrupt::stop() const noexcept { return installed_ ? &stopped : nullptr; }

std::function<void(std::int64_t, std::int64_t)> Progress::function() {
  if (callback_.is_none()) return {};
  return [this](std::int64_t done, std::int64_t all) {
    const nb::gil_scoped_acquire acquire;
    if (raised_) return;
    try {
      callback_(done, all);
    } catch (nb::python_error& error) {
      raised_.emplace(std::move(error));
    }
  };
}

void Progress::rethrow() {
  if (raised_) throw std::move(*raised_);
}

}  // namespace seqkv::python
