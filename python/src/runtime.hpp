// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// What every call of the module needs: Kokkos, errors as exceptions, the interpreter's lock given away, Ctrl-C.
#pragma once

#include <nanobind/nanobind.h>

#include <Kokkos_Core.hpp>
#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "seqkv/hash.hpp"
#include "seqkv/result.hpp"

namespace seqkv::python {

namespace nb = nanobind;

/// Arrays come from the host, and kernels run there.
using Space = Kokkos::DefaultHostExecutionSpace;

/// Becomes the exception of its code (errors.cpp).
struct Failure {
  Error error;
};

template <class T>
T value_of(Result<T> result) {
  if (!result) throw Failure{std::move(result).error()};
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

[[noreturn]] void fail(ErrorCode code, std::string message);

/// Of 64 hexadecimal digits; zero of an empty string. Errors: invalid_argument.
Digest digest_of(const std::string& hex);
/// The reverse.
std::string hex_of(const Digest& digest);

/// Starts Kokkos with the first call that computes. It is never finalized: objects with memory of Kokkos live as long
/// as the interpreter likes.
void start();
/// Before the first such call. Errors: invalid_argument.
void set_threads(int threads);
int threads();

/// While it lives, Ctrl-C stops what runs at its next block; Python's own handler hears of it, too.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;
  const std::atomic<bool>* stop() const noexcept;

 private:
  bool installed_ = false;
};

/// Runs `work` without the interpreter's lock. What stopped because of Ctrl-C raises KeyboardInterrupt.
template <class Work>
auto released(const Work& work) {
  start();
  try {
    const nb::gil_scoped_release release;
    return work();
  } catch (const Failure& failure) {
    if (failure.error.code == ErrorCode::interrupted && PyErr_CheckSignals() != 0) throw nb::python_error();
    throw;
  }
}

/// A progress callback of the caller, or None. An exception that it raises is raised again by rethrow(); until then
/// the callback is not called again.
class Progress {
 public:
  explicit Progress(nb::object callback) : callback_(std::move(callback)) {}
  /// For options of the library; empty where there is no callback.
  std::function<void(std::int64_t, std::int64_t)> function();
  void rethrow();

 private:
  nb::object callback_;
  std::optional<nb::python_error> raised_;
};

void bind_errors(nb::module_& module);
void bind_codec(nb::module_& module);
void bind_frame(nb::module_& module);
void bind_store(nb::module_& module);
void bind_model(nb::module_& module);
void bind_evaluate(nb::module_& module);
void bind_calibrate(nb::module_& module);
void bind_trie(nb::module_& module);

}  // namespace seqkv::python
