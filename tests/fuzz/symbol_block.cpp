// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Any bytes as symbol blocks and as rANS streams, several in a batch: every kernel of this machine gives the verdict
// and the symbols of the scalar coder, and reads nothing beyond the bytes.
#include <algorithm>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "backends/cpu/kernels.hpp"
#include "codec/entropy/tables.hpp"

using namespace seqkv;

namespace {

const codec::TableFamily& family() {
  static const codec::TableFamily made = codec::TableFamily::of_scales(24, 0.1, 40);
  return made;
}

/// A block: bytes in memory of their own size, and symbols.
struct Block {
  std::unique_ptr<std::byte[]> coded;
  std::vector<std::uint8_t> symbols;
  codec::SymbolBlock view;
};

const std::uint8_t* classes() {
  static const std::vector<std::uint8_t> all = [] {
    std::vector<std::uint8_t> made(64);
    for (std::size_t i = 0; i < made.size(); ++i) made[i] = static_cast<std::uint8_t>(i % 24);
    return made;
  }();
  return all.data();
}

/// The first four bytes say how many blocks, runs and symbols; the rest is dealt out among the blocks.
std::vector<Block> deal(std::span<const std::byte> bytes) {
  const auto number = [&](std::size_t i) { return std::to_integer<std::int64_t>(bytes[i]); };
  const auto count = static_cast<std::size_t>(1 + number(0) % 12);
  const std::int64_t runs = 1 + number(1) % 9;
  const std::int64_t run_symbols = 1 + number(2) % 70 + (number(3) % 8 == 0 ? 300 : 0);
  const auto rest = bytes.subspan(4);
  std::vector<Block> blocks(count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t first = rest.size() * i / count;
    const std::size_t size = rest.size() * (i + 1) / count - first;
    blocks[i].coded = std::make_unique<std::byte[]>(size);
    if (size > 0) std::memcpy(blocks[i].coded.get(), rest.data() + first, size);
    blocks[i].symbols.assign(static_cast<std::size_t>(runs * run_symbols), 0);
    blocks[i].view = {blocks[i].symbols.data(),       runs, run_symbols, classes(), -4, 9, blocks[i].coded.get(),
                      static_cast<std::int64_t>(size)};
  }
  return blocks;
}

using Decode = void (*)(const codec::SymbolTables&, codec::SymbolBlock*, std::int64_t, std::byte*);

std::vector<codec::SymbolBlock> run(Decode decode, const cpu::Kernels* kernels, std::vector<Block>& blocks) {
  std::vector<codec::SymbolBlock> views;
  std::int64_t runs = 0;
  for (const Block& block : blocks) {
    views.push_back(block.view);
    runs += block.view.runs;
  }
  const auto count = static_cast<std::int64_t>(views.size());
  const std::int64_t needed = kernels == nullptr ? 0 : kernels->symbols_memory(count, runs);
  std::vector<std::byte> memory(static_cast<std::size_t>(needed) + 64);
  decode(family().view(), views.data(), count,
         memory.data() + (64 - reinterpret_cast<std::uintptr_t>(memory.data()) % 64) % 64);
  return views;
}

void decode_scalar(const codec::SymbolTables& tables, codec::SymbolBlock* blocks, std::int64_t count, std::byte*) {
  for (std::int64_t i = 0; i < count; ++i) codec::decode_block(tables, blocks[i]);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 4) return 0;
  const auto bytes = std::as_bytes(std::span(data, size));
  std::vector<Block> expected = deal(bytes);
  const auto verdicts = run(decode_scalar, nullptr, expected);
  for (const char* name : {"avx2", "avx512"}) {
    const cpu::Kernels* kernels = cpu::kernels(name);
    if (kernels == nullptr) continue;
    for (Decode decode : {kernels->symbols_decode.with_gather, kernels->symbols_decode.without_gather}) {
      std::vector<Block> blocks = deal(bytes);
      const auto views = run(decode, kernels, blocks);
      for (std::size_t i = 0; i < blocks.size(); ++i) {
        if ((views[i].bytes < 0) != (verdicts[i].bytes < 0)) __builtin_trap();
        if (views[i].bytes >= 0 && blocks[i].symbols != expected[i].symbols) __builtin_trap();
      }
    }
  }
  return 0;
}
