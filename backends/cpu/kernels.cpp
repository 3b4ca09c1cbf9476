// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "backends/cpu/kernels.hpp"

#include <array>
#include <cstdlib>
#include <string_view>

#include "seqkv/backends.hpp"

namespace seqkv::cpu {

#if defined(SEQKV_HAVE_X86_KERNELS)
namespace avx2 {
extern const Kernels table;
}
namespace avx512 {
extern const Kernels table;
}

namespace {
bool has_avx2() { return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0; }
bool has_avx512() {
  return __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
         __builtin_cpu_supports("avx512vl") != 0 && __builtin_cpu_supports("avx512dq") != 0;
}
}  // namespace

const Kernels* kernels(const char* name) {
  const std::string_view wanted(name);
  if (wanted == "avx512") return has_avx512() ? &avx512::table : nullptr;
  if (wanted == "avx2") return has_avx2() ? &avx2::table : nullptr;
  return nullptr;
}
#else
const Kernels* kernels(const char*) { return nullptr; }
#endif

const Kernels* kernels() {
  static const Kernels* const chosen = []() -> const Kernels* {
    const char* wanted = std::getenv("SEQKV_CPU");
    if (wanted != nullptr && *wanted != '\0') return kernels(wanted);
    for (const char* name : {"avx512", "avx2"}) {
      if (const Kernels* found = kernels(name)) return found;
    }
    return nullptr;
  }();
  return chosen;
}

}  // namespace seqkv::cpu

namespace seqkv {

std::string cpu_kernels() {
  const cpu::Kernels* best = cpu::kernels();
  return best == nullptr ? "portable" : best->name;
}

}  // namespace seqkv
