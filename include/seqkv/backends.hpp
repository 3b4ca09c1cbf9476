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

/// Whether entropy coding looks tables up with this CPU's gather instructions, by a measurement of some 0.1 ms at the
/// first use; SEQKV_GATHER (on, off) in the environment overrules it. False for the portable kernels. Results do not
/// depend on it.
bool cpu_gather();

}  // namespace seqkv
