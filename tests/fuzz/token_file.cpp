// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Any bytes as a token file, the first one says of which kind: sequences of 31-bit tokens, none empty, or refused.
#include "seqkv/token_file.hpp"

#include <array>

#include "fit_header.hpp"
#include "memory_file.hpp"

using namespace seqkv;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static constexpr std::array<std::string_view, 4> kinds = {".npy", ".json", ".jsonl", ".safetensors"};
  if (size == 0) return 0;
  const std::size_t kind = data[0] % kinds.size();
  auto bytes = kind == 3 ? fuzz::fit_header(data + 1, size - 1) : std::vector<std::uint8_t>(data + 1, data + size);
  fuzz::MemoryFile file(bytes.data(), bytes.size());
  const auto sequences = read_token_file(file.path(kinds[kind]));
  if (!fuzz::is_clean(sequences)) __builtin_trap();
  if (!sequences.ok()) return 0;
  for (const auto& sequence : *sequences) {
    if (sequence.empty() || sequence.size() > size) __builtin_trap();
    for (const Token token : sequence) {
      if (token > INT32_MAX) __builtin_trap();
    }
  }
  return 0;
}
