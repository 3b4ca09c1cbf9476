// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "backends/cpu/kernels.hpp"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "seqkv/backends.hpp"

#if defined(SEQKV_HAVE_X86_KERNELS)
#include <cpuid.h>
#endif

namespace seqkv::cpu {

#if defined(SEQKV_HAVE_X86_KERNELS)
namespace avx2 {
extern const Kernels table;
}
namespace avx512 {
extern const Kernels table;
}

namespace {
/// Conversions to and from 16-bit floats. clang 14 has no name for them.
bool has_f16c() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}
bool has_avx2() { return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0 && has_f16c(); }
bool has_avx512() {
  return __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
         __builtin_cpu_supports("avx512vl") != 0 && __builtin_cpu_supports("avx512dq") != 0;
}
}  // namespace

const Kernels* kernels(const char* name) {
  const std::string_view wanted(name);
  if (wanted == "avx512") return has_avx512() ? &avx512::table : nullptr;
  if (wanted == "avx2") return has_avx2() ? &avx2::table : nullptr;
  return nullptr;
}
#else
const Kernels* kernels(const char*) { return nullptr; }
#endif

namespace {

const Kernels* best_kernels() {
  const char* wanted = std::getenv("SEQKV_CPU");
  if (wanted != nullptr && *wanted != '\0') return kernels(wanted);
  for (const char* name : {"avx512", "avx2"}) {
    if (const Kernels* found = kernels(name)) return found;
  }
  return nullptr;
}

const Kernels*& chosen() {
  static const Kernels* kernels = best_kernels();
  return kernels;
}

}  // namespace

const Kernels* kernels() { return chosen(); }

void use_kernels(const Kernels* kernels) { chosen() = kernels; }

namespace {

/// Seconds that decoding a few short streams takes at best.
double decoding_time(const Kernels& kernels, bool gather) {
  using namespace codec::rans;
  constexpr std::int64_t length = 2048;
  constexpr std::int64_t count = 10;
  std::uint16_t frequencies[symbols] = {};
  for (int s = 0; s < 16; ++s) frequencies[s] = total / 16;
  std::vector<Slot> slots(total);
  std::vector<Code> codes(symbols);
  Intervals intervals;
  fill_slots(frequencies, slots.data());
  fill_codes(frequencies, codes.data());
  fill_intervals(frequencies, intervals);
  std::vector<std::uint8_t> numbers(length * count);
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<std::uint8_t>(i * 2654435761U >> 28U & 15U);
  std::vector<std::byte> rooms(count * most_bytes(length));
  std::vector<Run> runs;
  std::vector<Stream> streams;
  for (std::int64_t i = 0; i < count; ++i) runs.push_back({&numbers[i * length], length, 0});
  for (std::int64_t i = 0; i < count; ++i) {
    streams.push_back({&runs[i], 1, rooms.data() + (i + 1) * most_bytes(length), 0});
  }
  kernels.rans_encode.without_gather({codes.data(), &intervals}, streams.data(), count);
  auto* decode = gather ? kernels.rans_decode.with_gather : kernels.rans_decode.without_gather;
  double best = 1;
  for (int round = 0; round < 4; ++round) {
    const auto start = std::chrono::steady_clock::now();
    decode({slots.data(), &intervals}, streams.data(), count);
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

}  // namespace

bool gather_is_fast() {
  static const bool fast = [] {
    const char* wanted = std::getenv("SEQKV_GATHER");
    if (wanted != nullptr && *wanted != '\0') return std::string_view(wanted) != "off";
    const Kernels* best = kernels();
    return best == nullptr || decoding_time(*best, true) <= decoding_time(*best, false);
  }();
  return fast;
}

}  // namespace seqkv::cpu

namespace seqkv {

std::string cpu_kernels() {
  const cpu::Kernels* best = cpu::kernels();
  return best == nullptr ? "portable" : best->name;
}

bool cpu_gather() { return cpu::kernels() != nullptr && cpu::gather_is_fast(); }

}  // namespace seqkv
