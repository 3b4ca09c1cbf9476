// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Any bytes as a manifest: every line that is read names a session and one source of its tokens.
#include "seqkv/manifest.hpp"

#include <set>

#include "memory_file.hpp"

using namespace seqkv;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::MemoryFile file(data, size);
  const auto lines = read_manifest(file.path());
  if (!fuzz::is_clean(lines)) __builtin_trap();
  if (!lines.ok()) return 0;
  std::set<std::string> names;
  for (const ManifestLine& line : *lines) {
    if (line.session.empty() || !names.insert(line.session).second) __builtin_trap();
    const int sources = (line.text ? 1 : 0) + (line.text_file.empty() ? 0 : 1) + (line.tokens.empty() ? 0 : 1) +
                        (line.kv.empty() ? 0 : 1);
    if (sources != 1) __builtin_trap();
  }
  return 0;
}
