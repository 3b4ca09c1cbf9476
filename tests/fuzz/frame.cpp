// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Any bytes as a frame: header, index and heads of blocks are read or refused, and what needs no profile is decoded,
// with all kernels of this machine to the same end. Bits of the first byte: 1, the header's checksum is put right; 2,
// those of the blocks are, without which nothing behind them would be tried.
#include "seqkv/frame.hpp"

#include <Kokkos_Core.hpp>
#include <cstring>

#include "backends/cpu/kernels.hpp"
#include "checksums.hpp"
#include "memory_file.hpp"

using namespace seqkv;

namespace {

constexpr std::int64_t most_values = 1 << 20;  // bytes; more is only slower

const Kokkos::Serial& space() {
  static const Kokkos::ScopeGuard kokkos;
  static const Kokkos::Serial serial;
  return serial;
}

void decode_alike(const FrameReader& frame) {
  cpu::use_kernels(nullptr);
  const auto expected = decode(space(), frame, nullptr);
  if (!fuzz::is_clean(expected)) __builtin_trap();
  for (const char* name : {"avx2", "avx512"}) {
    const cpu::Kernels* kernels = cpu::kernels(name);
    if (kernels == nullptr) continue;
    cpu::use_kernels(kernels);
    const auto cache = decode(space(), frame, nullptr);
    if (cache.ok() != expected.ok()) __builtin_trap();
    if (!cache.ok() && cache.error().message != expected.error().message) __builtin_trap();
    if (cache.ok() && !std::ranges::equal(cache->raw(), expected->raw())) __builtin_trap();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  std::vector<std::byte> bytes(size - 1);
  if (!bytes.empty()) std::memcpy(bytes.data(), data + 1, bytes.size());
  if ((data[0] & 1U) != 0) fuzz::sign_header(bytes);
  const auto frame = FrameReader::parse(bytes, "frame");
  if (!fuzz::is_clean(frame)) __builtin_trap();
  if (!frame.ok()) return 0;
  const FrameInfo& info = frame->info();
  if (!info.shape.check() || info.tokens < 0) __builtin_trap();
  for (const CodedBlockView& block : frame->blocks(0, info.blocks())) {
    if (block.data() < bytes.data() || block.data() + block.size() > bytes.data() + bytes.size()) __builtin_trap();
  }
  if ((data[0] & 2U) != 0) fuzz::sign_blocks(bytes);
  if (!fuzz::is_clean(frame->tokens())) __builtin_trap();
  const double values = static_cast<double>(info.tokens) * static_cast<double>(info.shape.components_per_token());
  if (values * static_cast<double>(size_of(info.shape.dtype)) <= most_values) decode_alike(*frame);
  return 0;
}
