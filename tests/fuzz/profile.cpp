// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Any bytes as a profile: read whole or refused.
#include "seqkv/profile.hpp"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

using namespace seqkv;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const int file = ::memfd_create("profile", MFD_CLOEXEC);
  if (file < 0 || ::write(file, data, size) != static_cast<ssize_t>(size)) __builtin_trap();
  const auto profile = Profile::load(fmt::format("/proc/self/fd/{}", file));
  if (profile.ok() && (*profile)->bytes() != static_cast<std::int64_t>(size)) __builtin_trap();
  if (!profile.ok() && profile.error().message.empty()) __builtin_trap();
  ::close(file);
  return 0;
}
