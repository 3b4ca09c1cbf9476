// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Profiles for tests: made up, but of every part, and as files that can be spoilt.
#pragma once

#include <fmt/format.h>
#include <algorithm>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "codec/entropy/tables.hpp"
#include "codec/predict/ecsq_arguments.hpp"
#include "codec/predict/lossless_steps.hpp"
#include "core/bytes.hpp"
#include "seqkv/hash.hpp"
#include "seqkv/profile.hpp"
#include "seqkv/safetensors.hpp"
#include "support/result.hpp"

namespace seqkv::test {

/// The tensors and the metadata of a profile, before they are written.
struct ProfileParts {
  struct Tensor {
    std::string dtype;
    std::vector<std::int64_t> shape;
    std::vector<std::byte> bytes;
  };
  std::map<std::string, Tensor> tensors;
  std::map<std::string, std::string> metadata;

  template <class T>
  void put(const std::string& name, const char* dtype, std::vector<std::int64_t> shape, const std::vector<T>& values) {
    const auto bytes = std::as_bytes(std::span(values));
    tensors[name] = {dtype, std::move(shape), {bytes.begin(), bytes.end()}};
  }

  std::filesystem::path write(const std::filesystem::path& path) const {
    std::vector<TensorSpec> specs;
    for (const auto& [name, tensor] : tensors) specs.push_back({name, tensor.dtype, tensor.shape});
    auto writer = value_of(SafetensorsWriter::create(path, specs, metadata));
    for (const auto& [name, tensor] : tensors) {
      if (auto status = writer.write(name, 0, tensor.bytes); !status) throw std::runtime_error("cannot write");
    }
    if (auto status = writer.commit(); !status) throw std::runtime_error("cannot write");
    return path;
  }
};

inline Digest test_model() { return Sha256().update("model").finish(); }

/// log2 of the scale of a component in 1/16.
inline std::int16_t lossless_scale(std::int64_t component) { return static_cast<std::int16_t>(component % 48 - 24); }

/// What coding without loss needs: small corrections, scales of about 1.
template <class Numbers>
void put_lossless(ProfileParts& parts, const KvShape& shape, std::int64_t number, const std::string& prefix,
                  const Numbers& numbers) {
  const std::int64_t width = shape.kv_heads * shape.head_dim;
  const float size = 0.3F / std::sqrt(static_cast<float>(width));
  if (number > 0) parts.put(prefix + "below", "F32", {width, width}, numbers(width * width, size));
  const std::vector<float> weights = numbers(width * width, size);
  std::vector<float> within(weights.size(), 0.0F);
  codec::PredictiveStep order;
  order.model.width = width;
  order.heads = shape.kv_heads;
  order.rope_pairs = number % 2 == 0 ? shape.rope.dim / 2 : 0;
  for (std::int64_t n = 0; n < codec::units_of(order); ++n) {
    const codec::Unit unit = codec::unit_at(order, n);
    const codec::Known known = codec::known_before(order, unit);
    for (int m = 0; m < unit.count; ++m) {
      for (std::int64_t k = 0; k < width; ++k) {
        const auto at = static_cast<std::size_t>(unit.component[m] * width + k);
        if (known.has(k)) within[at] = weights[at];
      }
    }
  }
  parts.put(prefix + "within", "F32", {width, width}, within);
  std::vector<std::int16_t> scales(static_cast<std::size_t>(width));
  for (std::int64_t i = 0; i < width; ++i) scales[static_cast<std::size_t>(i)] = lossless_scale(i);
  parts.put(prefix + "scales", "I16", {width}, scales);
}

/// Random weights of a size that lets errors show: transforms are an orthogonal matrix with weights from 1/2 to 2 on
/// its rows, predictions are small, importances vary over some octaves. Token 0 is the usual first one.
/// `rank` above 0: predictors are two factors; `blocks`: of transforms, which part the heads.
struct MadeUp {
  std::int64_t layers_below = 2;
  std::int64_t vocabulary = 50;
  std::int64_t token_width = 7;
  std::int64_t rank = 0;
  std::int64_t blocks = 1;
  bool references = false;
};

/// What another context leaves of a sub-block is expected to be a quarter as large.
inline void put_reference(ProfileParts& parts, const std::string& prefix) {
  const std::string name = prefix + "reference.";
  for (const char* same : {"forward", "inverse", "slope"}) parts.tensors[name + same] = parts.tensors.at(prefix + same);
  auto scales = parts.tensors.at(prefix + "scales");
  for (std::size_t at = 0; at < scales.bytes.size(); at += 2) {
    store_le(&scales.bytes[at], static_cast<std::int16_t>(load_le<std::int16_t>(&scales.bytes[at]) - 32));
  }
  parts.tensors[name + "scales"] = scales;
}

inline ProfileParts made_up_profile(const KvShape& shape, const MadeUp& how = {}) {
  const std::int64_t rank = how.rank;
  const std::int64_t blocks = how.blocks;
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  const std::int64_t width = shape.kv_heads * shape.head_dim;
  const std::int64_t dim = width / blocks;
  const std::int64_t some = round_up(dim, codec::tile_coefficients);  // coefficients of a block
  const std::int64_t coefficients = blocks * some;
  const auto numbers = [&](std::int64_t count, float scale) {
    std::vector<float> out(static_cast<std::size_t>(count));
    for (float& x : out) x = scale * normal(random);
    return out;
  };
  ProfileParts parts;
  parts.metadata = {{"seqkv.profile", "1"},
                    {"seqkv.model", test_model().hex()},
                    {"seqkv.layers", std::to_string(shape.layers)},
                    {"seqkv.kv_heads", std::to_string(shape.kv_heads)},
                    {"seqkv.head_dim", std::to_string(shape.head_dim)},
                    {"seqkv.layers_below", std::to_string(how.layers_below)},
                    {"seqkv.least_class", "-20"},
                    {"seqkv.first_token", "0"},
                    {"seqkv.curve", "[[2.0, 0.3, 0.05], [1.0, 0.6, 0.01]]"},
                    {"seqkv.rope", fmt::format(R"({{"dim": {}, "theta": 10000.0, "scaling": "none", "factor": 1.0,
                        "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_positions": 8192}})",
                                               shape.rope.dim)}};
  parts.put("tokens", "F32", {how.vocabulary, how.token_width}, numbers(how.vocabulary * how.token_width, 1.0F));
  constexpr int tables = 48;
  const auto family = codec::TableFamily::of_scales(tables, std::exp2(-5.0), std::exp2(6.75));
  std::vector<std::uint16_t> frequencies;
  for (int t = 0; t < tables; ++t) {
    frequencies.insert(frequencies.end(), family.frequencies(t).begin(), family.frequencies(t).end());
  }
  parts.put("tables", "U16", {tables, codec::rans::symbols}, frequencies);
  constexpr int lossless_tables = codec::lossless_tables;
  const auto lossless = codec::TableFamily::of_scales(lossless_tables, std::exp2(-6.0), std::exp2(2.75));
  frequencies.clear();
  for (int t = 0; t < lossless_tables; ++t) {
    frequencies.insert(frequencies.end(), lossless.frequencies(t).begin(), lossless.frequencies(t).end());
  }
  parts.put("lossless.tables", "U16", {lossless_tables, codec::rans::symbols}, frequencies);
  for (std::int64_t number = 0; number < 2 * shape.layers; ++number) {
    const std::string prefix = fmt::format("layers.{}.{}.", number / 2, number % 2 == 0 ? "key" : "value");
    const std::int64_t window = number - 2 * std::max<std::int64_t>(0, number / 2 - how.layers_below);
    const std::int64_t inputs = 1 + how.token_width + window * width;
    const std::int64_t first = rank > 0 ? rank : inputs;
    auto predict = numbers((width + 1) * first, 0.3F / std::sqrt(static_cast<float>(first)));
    for (auto w = predict.end() - first; w != predict.end(); ++w) *w *= 0.2F;  // a weight is an exponent
    if (rank > 0) {
      parts.put(prefix + "squeeze", "F32", {rank, inputs},
                numbers(rank * inputs, 1.0F / std::sqrt(static_cast<float>(inputs))));
    }
    parts.put(prefix + (rank > 0 ? "expand" : "predict"), "F32", {width + 1, first}, predict);
    std::vector<float> forward(static_cast<std::size_t>(coefficients * dim));
    std::vector<float> inverse(forward.size());
    std::vector<std::int16_t> scales(static_cast<std::size_t>(coefficients), -16);  // of the last one
    for (std::int64_t block = 0; block < blocks; ++block) {
      // A reflection, x - 2 v (v x), is its own inverse.
      std::vector<float> v = numbers(dim, 1.0F);
      float square = 0;
      for (float x : v) square += x * x;
      for (std::int64_t c = 0; c < dim; ++c) {
        const float weight = std::exp2(1.0F - 2.0F * static_cast<float>(c) / static_cast<float>(dim));
        for (std::int64_t i = 0; i < dim; ++i) {
          const float entry =
              (c == i ? 1.0F : 0.0F) - 2.0F * v[static_cast<std::size_t>(c)] * v[static_cast<std::size_t>(i)] / square;
          forward[static_cast<std::size_t>((block * some + c) * dim + i)] = weight * entry;
          inverse[static_cast<std::size_t>((block * dim + i) * some + c)] = entry / weight;
        }
        scales[static_cast<std::size_t>(block * some + c)] =
            static_cast<std::int16_t>(std::lround(16 * std::log2(weight)));
      }
    }
    using Shape = std::vector<std::int64_t>;
    parts.put(prefix + "forward", "F32", blocks > 1 ? Shape{blocks, some, dim} : Shape{some, dim}, forward);
    parts.put(prefix + "inverse", "F32", blocks > 1 ? Shape{blocks, dim, some} : Shape{dim, some}, inverse);
    std::vector<float> knots(codec::distance_knots);
    for (int k = 0; k < codec::distance_knots; ++k)
      knots[static_cast<std::size_t>(k)] = 1.0F - 0.3F * static_cast<float>(k);
    parts.put(prefix + "knots", "F32", {codec::distance_knots}, knots);
    parts.put(prefix + "scales", "I16", {coefficients}, scales);
    parts.put(prefix + "slope", "I32", {1}, std::vector<std::int32_t>{256});
    parts.put(prefix + "first_row", "F32", {width}, numbers(width, 1.0F));
    put_lossless(parts, shape, number, prefix + "lossless.", numbers);
    if (how.references && number >= 2) put_reference(parts, prefix);
  }
  return parts;
}

}  // namespace seqkv::test
