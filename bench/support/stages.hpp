// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Seconds that parallel loops take, by the last part of their labels. On devices each loop is waited for, which makes
/// the whole slower: measure stages and the whole apart.
#pragma once

#include <Kokkos_Core.hpp>
#include <chrono>
#include <map>
#include <string>

namespace seqkv::bench {

class Stages {
 public:
  static std::map<std::string, double>& seconds() {
    static std::map<std::string, double> all;
    return all;
  }
  static void start() {
    seconds().clear();
    using namespace Kokkos::Tools::Experimental;
    set_begin_parallel_for_callback([](const char* name, std::uint32_t, std::uint64_t*) {
      current() = name;
      began() = Clock::now();
    });
    set_end_parallel_for_callback([](std::uint64_t) {
      Kokkos::fence();
      seconds()[stage_of(current())] += std::chrono::duration<double>(Clock::now() - began()).count();
    });
  }
  static void stop() {
    Kokkos::Tools::Experimental::set_begin_parallel_for_callback(nullptr);
    Kokkos::Tools::Experimental::set_end_parallel_for_callback(nullptr);
  }

 private:
  using Clock = std::chrono::steady_clock;

  static std::string stage_of(const std::string& label) { return label.substr(label.rfind(':') + 1); }
  static std::string& current() {
    static std::string label;
    return label;
  }
  static Clock::time_point& began() {
    static Clock::time_point time;
    return time;
  }
};

}  // namespace seqkv::bench
