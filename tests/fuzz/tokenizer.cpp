// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Any bytes as a tokenizer.json: what is read turns text into tokens that are in its vocabulary, or says why not.
#include "seqkv/tokenizer.hpp"

#include "memory_file.hpp"

using namespace seqkv;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto tokenizer = Tokenizer::parse({reinterpret_cast<const char*>(data), size});
  if (!fuzz::is_clean(tokenizer)) __builtin_trap();
  if (!tokenizer.ok()) return 0;
  for (const std::string_view text : {"", "abc ab  c\n", "<x> 12 \xc3\xa9\xe2\x82\xac", "\xff"}) {
    const auto tokens = tokenizer->encode(text, SpecialTokens::add);
    if (!fuzz::is_clean(tokens)) __builtin_trap();
    if (!tokens.ok()) continue;
    for (const Token token : *tokens) {
      if (token >= tokenizer->vocabulary_size()) __builtin_trap();
    }
    if (!fuzz::is_clean(tokenizer->decode(*tokens))) __builtin_trap();
  }
  return 0;
}
