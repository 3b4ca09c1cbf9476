// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Any bytes as a KV file, and so as safetensors: what is opened can be read to its end.
#include "seqkv/kv_file.hpp"

#include "fit_header.hpp"
#include "memory_file.hpp"

using namespace seqkv;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = fuzz::fit_header(data, size);
  const fuzz::MemoryFile file(bytes.data(), size);
  const auto tensors = SafetensorsFile::open(file.path());
  if (!fuzz::is_clean(tensors)) __builtin_trap();
  if (tensors.ok()) {
    std::size_t sum = 0;
    for (const auto& [name, tensor] : tensors->tensors()) sum += tensor.bytes.size();
    if (sum > size) __builtin_trap();
  }
  const auto kv = KvFile::open(file.path());
  if (!fuzz::is_clean(kv)) __builtin_trap();
  if (!kv.ok() || kv->tokens().empty()) return 0;
  if (!tensors.ok() || !kv->shape().check()) __builtin_trap();
  const auto tokens = static_cast<std::int64_t>(kv->tokens().size());
  auto cache = KvCache::create(kv->shape(), tokens);
  if (!cache.ok() || !kv->read(0, cache->view())) __builtin_trap();
  if (static_cast<std::size_t>(cache->bytes()) > size) __builtin_trap();
  return 0;
}
