// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <fmt/format.h>
#include <Kokkos_Core.hpp>

#include <algorithm>

#include "cli/command.hpp"
#include "cli/ranks.hpp"
#include "seqkv/backends.hpp"
#include "seqkv/cores.hpp"
#include "seqkv/frame.hpp"
#include "seqkv/limits.hpp"
#include "seqkv/store.hpp"
#include "seqkv/transfer.hpp"
#include "seqkv/version.hpp"

namespace seqkv::cli {
namespace {

std::vector<std::string> backends() {
  std::vector<std::string> spaces;
#if defined(KOKKOS_ENABLE_SERIAL)
  spaces.push_back("Serial");
#endif
#if defined(KOKKOS_ENABLE_OPENMP)
  spaces.push_back("OpenMP");
#endif
#if defined(KOKKOS_ENABLE_CUDA)
  spaces.push_back("CUDA");
#endif
#if defined(KOKKOS_ENABLE_HIP)
  spaces.push_back("HIP");
#endif
  return spaces;
}

Result<int> run(const Options& options) {
  print(options,
        {{"version", version()},
         {"frame_version", frame_version},
         {"store_version", store_version},
         {"compiler", __VERSION__},
         {"kokkos", fmt::format("{}.{}.{}", KOKKOS_VERSION / 10000, KOKKOS_VERSION / 100 % 100, KOKKOS_VERSION % 100)},
         {"backends", backends()},
         {"default_backend", Space::name()},
         {"devices", std::max(Kokkos::num_devices(), 0)},
         {"threads", Kokkos::DefaultHostExecutionSpace().concurrency()},
         {"cores", available_cores()},
         {"cpu_kernels", cpu_kernels()},
         {"cpu_gather", cpu_gather()},
         {"onetbb", transfers_overlap()},
         {"mpi", has_mpi()},
         {"mpi_version", mpi_version()},
         {"limits", Report{{"max_layers", limits::max_layers},
                           {"max_kv_heads", limits::max_kv_heads},
                           {"max_head_dim", limits::max_head_dim},
                           {"max_block_tokens", limits::max_block_tokens},
                           {"max_tokens", limits::max_tokens},
                           {"max_vocabulary", limits::max_vocabulary}}}});
  return 0;
}

}  // namespace

Action declare_info(CLI::App&) {
  return [](const Options& options) { return run(options); };
}

}  // namespace seqkv::cli
