// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// What this build can run on.
#pragma once

#include <string>

namespace seqkv {

/// The CPU kernels in use: "avx512", "avx2" or "portable". SEQKV_CPU in the environment asks for lesser ones than
/// the machine has.
std::string cpu_kernels();

}  // namespace seqkv
