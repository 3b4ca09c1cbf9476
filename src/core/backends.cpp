// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "seqkv/backends.hpp"

#include "backends/cpu/kernels.hpp"

namespace seqkv {

std::string cpu_kernels() {
  const cpu::Kernels* best = cpu::kernels();
  return best == nullptr ? "portable" : best->name;
}

}  // namespace seqkv
