// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Any bytes as a profile: read whole or refused.
#include "seqkv/profile.hpp"

#include "fit_header.hpp"
#include "memory_file.hpp"

using namespace seqkv;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = fuzz::fit_header(data, size);
  const fuzz::MemoryFile file(bytes.data(), size);
  const auto profile = Profile::load(file.path());
  if (profile.ok() && (*profile)->bytes() != static_cast<std::int64_t>(size)) __builtin_trap();
  if (!fuzz::is_clean(profile)) __builtin_trap();
  return 0;
}
