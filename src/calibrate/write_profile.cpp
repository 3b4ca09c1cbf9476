// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "calibrate/write_profile.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "core/bytes.hpp"
#include "core/float16.hpp"
#include "core/try.hpp"
#include "io/rope_json.hpp"
#include "seqkv/safetensors.hpp"

namespace seqkv::calibration {
namespace {

struct Tensor {
  TensorSpec spec;
  std::vector<std::byte> bytes;
};

template <class T, class Values>
std::vector<std::byte> little_endian(const Values& values) {
  std::vector<std::byte> out(values.size() * sizeof(T));
  std::byte* to = out.data();
  for (const auto& value : values) {
    store_le<T>(to, static_cast<T>(value));
    to += sizeof(T);
  }
  return out;
}

std::vector<std::byte> f32_bytes(std::span<const float> values) {
  std::vector<std::uint32_t> bits;
  for (const float x : values) bits.push_back(detmath::bits(x));
  return little_endian<std::uint32_t>(bits);
}

std::vector<std::byte> bytes_of(const Stored& stored) {
  if (stored.dtype == DType::f32) return f32_bytes(stored.values);
  std::vector<std::uint16_t> bits;
  for (const float x : stored.values) bits.push_back(float_to_f16(x));
  return little_endian<std::uint16_t>(bits);
}

Tensor tensor_of(std::string name, std::vector<std::int64_t> shape, const Stored& stored) {
  return {{std::move(name), std::string(to_safetensors(stored.dtype)), std::move(shape)}, bytes_of(stored)};
}

Tensor tensor_of(std::string name, const std::vector<codec::Frequencies>& tables) {
  std::vector<std::uint16_t> frequencies;
  for (const auto& table : tables) frequencies.insert(frequencies.end(), table.begin(), table.end());
  return {{std::move(name), "U16", {static_cast<std::int64_t>(tables.size()), codec::rans::symbols}},
          little_endian<std::uint16_t>(frequencies)};
}

std::map<std::string, std::string> metadata_of(const Plan& plan, const Digest& model,
                                               const std::vector<RatePoint>& curve) {
  nlohmann::json rows = nlohmann::json::array();
  for (const RatePoint& point : curve) rows.push_back({point.step, point.bits, point.kl});
  std::map<std::string, std::string> out = {
      {"seqkv.profile", "1"},
      {"seqkv.model", model.hex()},
      {"seqkv.layers", std::to_string(plan.shape.layers)},
      {"seqkv.kv_heads", std::to_string(plan.shape.kv_heads)},
      {"seqkv.head_dim", std::to_string(plan.shape.head_dim)},
      {"seqkv.rope", io::rope_to_json(plan.shape.rope)},
      {"seqkv.layers_below", std::to_string(plan.sizes.layers_below)},
      {"seqkv.least_class", std::to_string(least_class)},
      {"seqkv.curve", rows.dump()},
  };
  if (plan.first_token) out["seqkv.first_token"] = std::to_string(*plan.first_token);
  return out;
}

void append_transform(std::vector<Tensor>& out, const std::string& prefix, std::int64_t width,
                      const FittedTransform& transform) {
  const auto blocks_of = [&](std::int64_t rows, std::int64_t columns) -> std::vector<std::int64_t> {
    if (transform.blocks == 1) return {rows, columns};
    return {transform.blocks, rows / transform.blocks, columns / transform.blocks};
  };
  out.push_back(tensor_of(prefix + "forward", blocks_of(transform.coefficients, width), transform.forward));
  out.push_back(tensor_of(prefix + "inverse", blocks_of(width, transform.coefficients), transform.inverse));
  out.push_back({{prefix + "scales", "I16", {transform.coefficients}}, little_endian<std::int16_t>(transform.scales)});
  out.push_back({{prefix + "slope", "I32", {1}}, little_endian<std::int32_t>(std::array{transform.slope})});
}

std::vector<Tensor> tensors_of(const Plan& plan, const Contents& contents) {
  std::vector<Tensor> out;
  out.push_back(tensor_of("tokens", {contents.vocabulary, plan.sizes.token_width}, contents.tokens));
  out.push_back(tensor_of("tables", contents.tables));
  if (plan.sizes.lossless) out.push_back(tensor_of("lossless.tables", contents.lossless_tables));
  const std::int64_t width = plan.width();
  for (std::size_t b = 0; b < contents.subblocks.size(); ++b) {
    const Fitted& fitted = contents.subblocks[b];
    const std::string prefix = fmt::format("layers.{}.{}.", b / 2, b % 2 == 0 ? "key" : "value");
    const std::int64_t inputs = plan.inputs(static_cast<std::int64_t>(b));
    if (fitted.rank == 0) {
      out.push_back(tensor_of(prefix + "predict", {width + 1, inputs}, fitted.predict));
    } else {
      out.push_back(tensor_of(prefix + "squeeze", {fitted.rank, inputs}, fitted.squeeze));
      out.push_back(tensor_of(prefix + "expand", {width + 1, fitted.rank}, fitted.predict));
    }
    append_transform(out, prefix, width, fitted.transform);
    if (fitted.reference) append_transform(out, prefix + "reference.", width, *fitted.reference);
    out.push_back({{prefix + "knots", "F32", {codec::distance_knots}}, f32_bytes(fitted.knots)});
    out.push_back({{prefix + "first_row", "F32", {width}}, f32_bytes(fitted.first_row)});
    if (!plan.sizes.lossless) continue;
    if (b > 0) out.push_back(tensor_of(prefix + "lossless.below", {width, width}, fitted.lossless.below));
    out.push_back(tensor_of(prefix + "lossless.within", {width, width}, fitted.lossless.within));
    out.push_back({{prefix + "lossless.scales", "I16", {width}}, little_endian<std::int16_t>(fitted.lossless.scales)});
  }
  return out;
}

}  // namespace

Result<void> write_profile(const std::filesystem::path& path, const Plan& plan, const Digest& model,
                           const Contents& contents, const std::vector<RatePoint>& curve) {
  const std::vector<Tensor> tensors = tensors_of(plan, contents);
  std::vector<TensorSpec> specs;
  for (const Tensor& tensor : tensors) specs.push_back(tensor.spec);
  SEQKV_ASSIGN(SafetensorsWriter writer, SafetensorsWriter::create(path, specs, metadata_of(plan, model, curve)));
  for (const Tensor& tensor : tensors) SEQKV_TRY(writer.write(tensor.spec.name, 0, tensor.bytes));
  return writer.commit();
}

}  // namespace seqkv::calibration
