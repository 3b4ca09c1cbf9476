// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Any bytes as a stream of tokens: refused, or written again as they were. And any bytes as
// a payload of differences, which always give numbers of their dtype. Checksums are put right, without which nothing
// but their checks would be tried.
#include <cstring>
#include <vector>

#include "replay/difference_coder.hpp"
#include "replay/token_stream.hpp"
#include "seqkv/error.hpp"
#include "seqkv/hash.hpp"

using namespace seqkv;

namespace {

template <class Parse>
void try_stream(std::vector<std::byte> bytes, const Parse& parse) {
  auto parsed = parse(bytes);
  if (!parsed && parsed.error().code == ErrorCode::checksum_mismatch) {
    const auto index = static_cast<std::size_t>(parsed.error().offset);
    const auto checksum = static_cast<std::uint32_t>(xxh3_64(std::span(bytes).first(index)));
    std::memcpy(bytes.data() + index, &checksum, sizeof(checksum));
    parsed = parse(bytes);
  }
  if (parsed && replay::write(*parsed) != bytes) __builtin_trap();
}

void try_payload(std::span<const std::byte> bytes, DType dtype) {
  constexpr std::size_t channels = 8;
  constexpr std::size_t rows = 32;
  std::vector<std::int32_t> expected(channels * rows);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const auto number = static_cast<std::int32_t>(i * 2654435761U);
    expected[i] = dtype == DType::f32 ? number : static_cast<std::int16_t>(number);
  }
  std::vector<std::int32_t> exact(expected.size());
  replay::DifferenceModel model(channels, dtype);
  replay::BitDecoder coder(bytes);
  float drift = 1;
  for (std::size_t row = 0; row < rows; ++row) {
    model.code_row(
        coder, expected, exact, [=](std::size_t channel) { return row * channels + channel; }, drift);
  }
  for (const std::int32_t number : exact) {
    if (dtype != DType::f32 && number != static_cast<std::int16_t>(number)) __builtin_trap();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto* start = reinterpret_cast<const std::byte*>(data);
  const std::vector<std::byte> bytes(start, start + size);
  try_stream(bytes, [](const auto& stream) { return replay::parse_token_stream(stream, 1U << 20U); });
  for (const DType dtype : {DType::bf16, DType::f16, DType::f32}) try_payload(bytes, dtype);
  return 0;
}
