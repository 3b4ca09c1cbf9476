// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <Kokkos_Core.hpp>
#include <sstream>

#include "cli/command.hpp"
#include "seqkv/backends.hpp"
#include "seqkv/frame.hpp"
#include "seqkv/limits.hpp"
#include "seqkv/store.hpp"
#include "seqkv/version.hpp"

namespace seqkv::cli {
namespace {

Json backends() {
  Json spaces = Json::array();
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
  Json result;
  result["version"] = version();
  result["frame_version"] = frame_version;
  result["store_version"] = store_version;
  result["compiler"] = __VERSION__;
  result["kokkos"] = KOKKOS_VERSION;
  result["backends"] = backends();
  result["default_backend"] = Space::name();
  result["devices"] = Kokkos::num_devices() < 0 ? 0 : Kokkos::num_devices();
  result["threads"] = Kokkos::DefaultHostExecutionSpace().concurrency();
  result["cpu_kernels"] = cpu_kernels();
  result["mpi"] = false;
  result["limits"] = {{"max_layers", limits::max_layers},
                      {"max_kv_heads", limits::max_kv_heads},
                      {"max_head_dim", limits::max_head_dim},
                      {"max_block_tokens", limits::max_block_tokens},
                      {"max_tokens", limits::max_tokens},
                      {"max_vocabulary", limits::max_vocabulary}};
  print(options, result);
  return 0;
}

}  // namespace

Action declare_info(CLI::App&) { return run; }

}  // namespace seqkv::cli
