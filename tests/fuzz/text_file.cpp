// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Any bytes as a text, plain or packed, the first one says how: UTF-8 or refused.
#include "seqkv/text_file.hpp"

#include <array>

#include "memory_file.hpp"

using namespace seqkv;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static constexpr std::array<std::string_view, 5> kinds = {".txt", ".jsonl", ".jsonl.xz", ".jsonl.zst", ".txt.xz"};
  if (size == 0) return 0;
  fuzz::MemoryFile file(data + 1, size - 1);
  const auto documents = read_documents(file.path(kinds[data[0] % kinds.size()]));
  if (!fuzz::is_clean(documents)) __builtin_trap();
  if (documents.ok() && documents->empty()) __builtin_trap();
  return 0;
}
