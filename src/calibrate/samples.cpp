// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "calibrate/samples.hpp"

#include <fmt/format.h>

#include <cstring>

#include "core/bytes.hpp"
#include "core/float16.hpp"
#include "core/try.hpp"
#include "io/file.hpp"

namespace seqkv::calibration {

std::filesystem::path sample_file(const std::filesystem::path& folder, std::int64_t chunk) {
  return folder / fmt::format("chunk-{:06}.samples", chunk);
}

std::filesystem::path pair_file(const std::filesystem::path& folder, std::int64_t pair) {
  return folder / fmt::format("pair-{:06}.samples", pair);
}

Result<PairSamples> read_pairs(const Plan& plan, const std::filesystem::path& folder, std::int64_t subblock) {
  const SampleLayout layout(plan);
  const auto pairs = static_cast<std::int64_t>(plan.pairs.size());
  PairSamples out{Floats(pairs * layout.rows, layout.width), Floats(pairs * layout.rows, layout.width)};
  std::vector<std::byte> bytes(static_cast<std::size_t>(layout.pair_subblock()));
  for (std::int64_t pair = 0; pair < pairs; ++pair) {
    const auto path = pair_file(folder, pair);
    SEQKV_ASSIGN(const io::Descriptor file, io::open_for_reading(path));
    SEQKV_TRY(io::read_all(file, path, bytes, subblock * layout.pair_subblock()));
    const std::byte* from = bytes.data();
    for (Floats* context : {&out.predicted, &out.source}) {
      for (std::int64_t r = 0; r < layout.rows; ++r) {
        float* to = context->row(pair * layout.rows + r);
        for (std::int64_t i = 0; i < layout.width; ++i, from += 4) {
          to[i] = detmath::from_bits(load_le<std::uint32_t>(from));
        }
      }
    }
  }
  return out;
}

Result<Samples> read_samples(const Plan& plan, const std::filesystem::path& folder, std::int64_t subblock) {
  const SampleLayout layout(plan);
  const auto chunks = static_cast<std::int64_t>(plan.chunks.size());
  Samples out{
      Floats(chunks * layout.rows, layout.width), {}, std::vector<float>(static_cast<std::size_t>(layout.width))};
  for (std::int64_t draw = 0; draw < layout.draws; ++draw)
    out.gradients.emplace_back(chunks * layout.rows, layout.width);
  std::vector<std::byte> bytes(static_cast<std::size_t>(layout.subblock()));
  for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
    const auto path = sample_file(folder, chunk);
    SEQKV_ASSIGN(const io::Descriptor file, io::open_for_reading(path));
    SEQKV_TRY(io::read_all(file, path, bytes, subblock * layout.subblock()));
    const std::byte* from = bytes.data();
    const auto next_value = [&from] {
      const float x = detmath::from_bits(load_le<std::uint32_t>(from));
      from += 4;
      return x;
    };
    for (float& x : out.first_row) x = next_value();
    for (std::int64_t r = 0; r < layout.rows; ++r) {
      float* to = out.values.row(chunk * layout.rows + r);
      for (std::int64_t i = 0; i < layout.width; ++i) to[i] = next_value();
    }
    for (Floats& gradients : out.gradients) {
      for (std::int64_t r = 0; r < layout.rows; ++r) {
        float* to = gradients.row(chunk * layout.rows + r);
        for (std::int64_t i = 0; i < layout.width; ++i, from += 2) to[i] = bf16_to_float(load_le<std::uint16_t>(from));
      }
    }
  }
  return out;
}

}  // namespace seqkv::calibration
