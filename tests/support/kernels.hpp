// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The kernels of the forward pass, called directly: every implementation that this machine has, on numbers made
/// here.
#pragma once

#include <gtest/gtest.h>

#include <Kokkos_Core.hpp>
#include <bit>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "model/dispatch.hpp"

namespace seqkv::test {

/// Numbers in the memory of an execution space.
template <class Space, class T>
class Array {
 public:
  explicit Array(const std::vector<T>& values)
      : view_(Kokkos::view_alloc(Kokkos::WithoutInitializing, "seqkv::test::array"), values.size()) {
    Kokkos::deep_copy(view_,
                      Kokkos::View<const T*, Kokkos::HostSpace, Kokkos::MemoryUnmanaged>(values.data(), values.size()));
  }
  T* data() const { return view_.data(); }
  /// Null where there are no numbers.
  T* or_null() const { return view_.size() == 0 ? nullptr : view_.data(); }
  std::vector<T> read() const {
    std::vector<T> values(view_.size());
    Kokkos::deep_copy(Kokkos::View<T*, Kokkos::HostSpace, Kokkos::MemoryUnmanaged>(values.data(), values.size()),
                      view_);
    return values;
  }

 private:
  Kokkos::View<T*, typename Space::memory_space> view_;
};

/// The CPU kernels of this machine.
inline std::vector<const cpu::Kernels*> cpu_kernels() {
  std::vector<const cpu::Kernels*> all;
  for (const char* name : {"avx2", "avx512"}) {
    if (const cpu::Kernels* found = cpu::kernels(name)) all.push_back(found);
  }
  return all;
}

/// One implementation: a CPU's, that of GPUs, or, with neither, the portable one.
struct Implementation {
  const char* name = "portable";
  const cpu::Kernels* cpu = nullptr;
  bool gpu = false;
};

/// Those that an execution space has.
template <class Space>
std::vector<Implementation> implementations() {
  std::vector<Implementation> all = {{}};
  if constexpr (is_host_space<Space>) {
    for (const cpu::Kernels* cpu : cpu_kernels()) all.push_back({.name = cpu->name, .cpu = cpu});
  } else {
    all.push_back({.name = "gpu", .gpu = true});
  }
  return all;
}

#define SEQKV_RUN_KERNEL(function, Args)                                                             \
  template <class Space>                                                                             \
  void run_kernel(const Space& space, [[maybe_unused]] const Implementation& by, const Args& args) { \
    if constexpr (is_host_space<Space>) {                                                            \
      if (by.cpu != nullptr) return cpu::function(*by.cpu, space, args);                             \
      kokkos::function(space, args);                                                                 \
    } else {                                                                                         \
      by.gpu ? gpu::function(space, args) : kokkos::function(space, args);                           \
    }                                                                                                \
    space.fence("seqkv::test::run_kernel: the results are read");                                    \
  }
SEQKV_RUN_KERNEL(gemm, kernels::Gemm)
SEQKV_RUN_KERNEL(norm, kernels::Norm)
SEQKV_RUN_KERNEL(gated_activation, kernels::GatedActivation)
SEQKV_RUN_KERNEL(rope, kernels::Rope)
SEQKV_RUN_KERNEL(attention, kernels::Attention)
#undef SEQKV_RUN_KERNEL

/// The same bits, or the first element that differs.
inline testing::AssertionResult same_bits(const std::vector<float>& actual, const std::vector<float>& expected) {
  if (actual.size() != expected.size()) {
    return testing::AssertionFailure() << actual.size() << " numbers, expected " << expected.size();
  }
  for (std::size_t i = 0; i < actual.size(); ++i) {
    if (std::bit_cast<std::uint32_t>(actual[i]) != std::bit_cast<std::uint32_t>(expected[i])) {
      return testing::AssertionFailure() << "element " << i << " is " << actual[i] << ", expected " << expected[i];
    }
  }
  return testing::AssertionSuccess();
}

/// `problem(space, implementation)` gives what one implementation computes. All must give what the portable kernel
/// gives on one thread.
template <class Space, class Problem>
void expect_same_bits(const Space& space, const Problem& problem) {
  const std::vector<float> expected = problem(Kokkos::Serial(), Implementation{});
  for (const Implementation& by : implementations<Space>()) {
    EXPECT_TRUE(same_bits(problem(space, by), expected)) << by.name;
  }
}

/// Random numbers, the same on every run.
class Numbers {
 public:
  explicit Numbers(std::uint32_t seed) : engine_(seed) {}

  /// From -1 to 1, not evenly: magnitudes differ, and some are zero.
  float next() {
    const std::uint32_t bits = engine_();
    if (bits % 61 == 0) return bits % 122 == 0 ? 0.0F : -0.0F;
    const float mantissa = static_cast<float>(bits >> 8U) * 0x1p-23F - 1.0F;
    return std::ldexp(mantissa, -static_cast<int>(engine_() % 6));
  }
  std::vector<float> take(std::int64_t count, float scale = 1.0F) {
    std::vector<float> values(static_cast<std::size_t>(count));
    for (float& value : values) value = scale * next();
    return values;
  }
  std::int64_t below(std::int64_t limit) { return engine_() % limit; }

 private:
  std::mt19937 engine_;
};

}  // namespace seqkv::test
