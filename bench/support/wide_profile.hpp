// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// A profile and a cache of the shape of a large model, without the model: sizes are those that calibration chooses,
/// numbers are random, and so that the cache costs what real ones do.
#pragma once

#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <random>

#include "calibrate/sizes.hpp"
#include "codec/entropy/tables.hpp"
#include "codec/predict/arguments.hpp"
#include "core/float16.hpp"
#include "core/rope_table.hpp"
#include "io/rope_json.hpp"
#include "seqkv/kv.hpp"
#include "seqkv/safetensors.hpp"
#include "support/value.hpp"

namespace seqkv::bench {

/// The shape of Llama 3 8B.
inline ModelConfig llama3_8b() {
  ModelConfig config;
  config.hidden = 4096;
  config.intermediate = 14336;
  config.layers = 32;
  config.query_heads = 32;
  config.kv_heads = 8;
  config.head_dim = 128;
  config.vocabulary = 128'256;
  config.rope.dim = 128;
  config.rope.theta = 500'000;
  return config;
}

class WideModel {
 public:
  WideModel(const ModelConfig& config, const CalibrateOptions& options)
      : config_(config), sizes_(value_of(calibration::choose_sizes(config, options))) {}

  const calibration::Sizes& sizes() const { return sizes_; }
  calibration::Budget cost() const { return calibration::cost_of(config_, sizes_); }

  void write_profile(const std::filesystem::path& path) const;

  /// Numbers that the profile's transforms take for what its scales say.
  KvCache cache(std::int64_t tokens) const;

 private:
  std::int64_t width() const { return config_.kv_heads * config_.head_dim; }
  std::int64_t dim() const { return width() / sizes_.blocks; }
  /// log2 of the scale of a block's coefficient c: falling like a power, as those of real caches do.
  double log_scale(std::int64_t c) const { return 2.6 - 0.75 * std::log2(1.0 + static_cast<double>(c)); }
  /// Of the reflection x - 2 v (v x), which is each transform and its inverse.
  std::vector<float> direction(std::int64_t number, std::int64_t block) const;

  ModelConfig config_;
  calibration::Sizes sizes_;
};

inline std::vector<float> WideModel::direction(std::int64_t number, std::int64_t block) const {
  std::mt19937 random(static_cast<unsigned>(number * sizes_.blocks + block));
  std::normal_distribution<float> normal;
  std::vector<float> v(static_cast<std::size_t>(dim()));
  float square = 0;
  for (float& x : v) {
    x = normal(random);
    square += x * x;
  }
  for (float& x : v) x /= std::sqrt(square);
  return v;
}

inline void WideModel::write_profile(const std::filesystem::path& path) const {
  using Shape = std::vector<std::int64_t>;
  std::vector<TensorSpec> specs;
  std::vector<std::vector<std::byte>> contents;
  const auto add = [&](const std::string& name, const char* dtype, const Shape& shape, const auto& values) {
    const auto bytes = std::as_bytes(std::span(values));
    specs.push_back({name, dtype, shape});
    contents.emplace_back(bytes.begin(), bytes.end());
  };
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  const auto numbers = [&](std::int64_t count, double scale) {
    std::vector<std::uint16_t> out(static_cast<std::size_t>(count));
    for (auto& x : out) x = float_to_f16(static_cast<float>(scale) * normal(random));
    return out;
  };
  add("tokens", "F16", {config_.vocabulary, sizes_.token_width}, numbers(config_.vocabulary * sizes_.token_width, 1));
  constexpr int tables = 49;
  const auto family = codec::TableFamily::of_scales(tables, std::exp2(-5.0), std::exp2(7.0));
  std::vector<std::uint16_t> frequencies;
  for (int t = 0; t < tables; ++t)
    frequencies.insert(frequencies.end(), family.frequencies(t).begin(), family.frequencies(t).end());
  add("tables", "U16", {tables, codec::rans::symbols}, frequencies);
  std::vector<std::int16_t> scales;
  for (std::int64_t c = 0; c < width(); ++c)
    scales.push_back(static_cast<std::int16_t>(std::lround(16 * log_scale(c % dim()))));
  std::vector<float> knots;
  for (int k = 0; k < codec::distance_knots; ++k) knots.push_back(0.7F - 0.2F * static_cast<float>(k));
  for (std::int64_t b = 0; b < 2 * config_.layers; ++b) {
    const std::string prefix = fmt::format("layers.{}.{}.", b / 2, b % 2 == 0 ? "key" : "value");
    const std::int64_t inputs = 1 + sizes_.token_width + calibration::window_of(b, sizes_.layers_below) * width();
    const std::int64_t rank = calibration::useful_rank(sizes_.rank, inputs, width() + 1);
    const std::int64_t first = rank > 0 ? rank : inputs;
    auto predict = numbers((width() + 1) * first, 0.05 / std::sqrt(static_cast<double>(first)));
    for (auto x = predict.end() - first; x != predict.end(); ++x) *x = float_to_f16(16 * f16_to_float(*x));
    if (rank > 0)
      add(prefix + "squeeze", "F16", {rank, inputs},
          numbers(rank * inputs, 1 / std::sqrt(static_cast<double>(inputs))));
    add(prefix + (rank > 0 ? "expand" : "predict"), "F16", {width() + 1, first}, predict);
    std::vector<std::uint16_t> reflections;
    for (std::int64_t block = 0; block < sizes_.blocks; ++block) {
      const std::vector<float> v = direction(b, block);
      for (std::size_t i = 0; i < v.size(); ++i) {
        for (std::size_t j = 0; j < v.size(); ++j)
          reflections.push_back(float_to_f16((i == j ? 1.0F : 0.0F) - 2 * v[i] * v[j]));
      }
    }
    const Shape shape = sizes_.blocks == 1 ? Shape{dim(), dim()} : Shape{sizes_.blocks, dim(), dim()};
    add(prefix + "forward", "F16", shape, reflections);
    add(prefix + "inverse", "F16", shape, reflections);
    add(prefix + "scales", "I16", {width()}, scales);
    add(prefix + "slope", "I32", {1}, std::vector<std::int32_t>{256});
    add(prefix + "knots", "F32", {codec::distance_knots}, knots);
    add(prefix + "first_row", "F32", {width()}, std::vector<float>(static_cast<std::size_t>(width())));
  }
  const std::map<std::string, std::string> metadata = {{"seqkv.profile", "1"},
                                                       {"seqkv.model", Digest().hex()},
                                                       {"seqkv.layers", std::to_string(config_.layers)},
                                                       {"seqkv.kv_heads", std::to_string(config_.kv_heads)},
                                                       {"seqkv.head_dim", std::to_string(config_.head_dim)},
                                                       {"seqkv.rope", io::rope_to_json(config_.rope)},
                                                       {"seqkv.layers_below", std::to_string(sizes_.layers_below)},
                                                       {"seqkv.least_class", "-20"},
                                                       {"seqkv.curve", "[]"}};
  auto writer = value_of(SafetensorsWriter::create(path, specs, metadata));
  for (std::size_t i = 0; i < specs.size(); ++i) check(writer.write(specs[i].name, 0, contents[i]));
  check(writer.commit());
}

inline KvCache WideModel::cache(std::int64_t tokens) const {
  const KvShape shape = config_.kv_shape(DType::bf16);
  KvCache out = value_of(KvCache::create(shape, tokens));
  const auto frequencies = inverse_frequencies(shape.rope);
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<std::size_t>(width())), cosine(frequencies.size()), sine(frequencies.size());
  for (std::int64_t b = 0; b < 2 * shape.layers; ++b) {
    for (std::int64_t t = 0; t < tokens; ++t) {
      for (std::int64_t block = 0; block < sizes_.blocks; ++block) {
        const std::vector<float> v = direction(b, block);
        float* y = &x[static_cast<std::size_t>(block * dim())];
        float sum = 0;
        for (std::int64_t c = 0; c < dim(); ++c) {
          y[c] = static_cast<float>(std::exp2(log_scale(c))) * normal(random);
          sum += y[c] * v[static_cast<std::size_t>(c)];
        }
        for (std::int64_t c = 0; c < dim(); ++c) y[c] -= 2 * sum * v[static_cast<std::size_t>(c)];
      }
      rope_angles(frequencies, t, cosine.data(), sine.data());
      for (std::int64_t head = 0; head < shape.kv_heads; ++head) {
        float* y = &x[static_cast<std::size_t>(head * shape.head_dim)];
        const std::size_t half = frequencies.size();
        for (std::size_t i = 0; b % 2 == 0 && i < half; ++i) {
          const float turned = y[i] * cosine[i] - y[i + half] * sine[i];
          y[i + half] = y[i + half] * cosine[i] + y[i] * sine[i];
          y[i] = turned;
        }
        for (std::int64_t i = 0; i < shape.head_dim; ++i)
          store_from_float(out.view().tensors[static_cast<std::size_t>(b)], DType::bf16,
                           (head * tokens + t) * shape.head_dim + i, y[i]);
      }
    }
  }
  return out;
}

}  // namespace seqkv::bench
