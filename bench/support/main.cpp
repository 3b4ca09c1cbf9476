// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Google Benchmark inside of Kokkos; the results name the backend, its threads and the kernels in use.
#include <benchmark/benchmark.h>

#include <Kokkos_Core.hpp>

#include "seqkv/backends.hpp"
#include "seqkv/version.hpp"

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  Kokkos::InitializationSettings settings;
  settings.set_disable_warnings(true);
  const Kokkos::ScopeGuard kokkos(settings);
  using Space = Kokkos::DefaultExecutionSpace;
  benchmark::AddCustomContext("seqkv", std::string(seqkv::version()));
  benchmark::AddCustomContext("backend", Space::name());
  benchmark::AddCustomContext("threads", std::to_string(Space().concurrency()));
  benchmark::AddCustomContext("cpu_kernels", seqkv::cpu_kernels());
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
