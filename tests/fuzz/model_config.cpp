// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Any bytes as a config.json: what is read is a model with a cache.
#include "seqkv/model_config.hpp"

#include "memory_file.hpp"

using namespace seqkv;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto config = ModelConfig::parse({reinterpret_cast<const char*>(data), size});
  if (!fuzz::is_clean(config)) __builtin_trap();
  if (!config.ok()) return 0;
  if (config->layers < 1 || config->hidden < 1 || config->query_heads % config->kv_heads != 0) __builtin_trap();
  if (config->window.size() != static_cast<std::size_t>(config->layers)) __builtin_trap();
  (void)config->fingerprint();
  return 0;
}
