// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "io/rope_json.hpp"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "io/json.hpp"

namespace seqkv::io {
namespace {

constexpr std::array<std::pair<RopeScaling, const char*>, 3> scaling_names = {
    {{RopeScaling::none, "none"}, {RopeScaling::linear, "linear"}, {RopeScaling::llama3, "llama3"}}};

}  // namespace

std::string rope_to_json(const RopeConfig& rope) {
  nlohmann::ordered_json json;
  json["dim"] = rope.dim;
  json["theta"] = rope.theta;
  for (const auto& [scaling, name] : scaling_names) {
    if (scaling == rope.scaling) json["scaling"] = name;
  }
  json["factor"] = rope.factor;
  json["low_freq_factor"] = rope.low_freq_factor;
  json["high_freq_factor"] = rope.high_freq_factor;
  json["original_max_positions"] = rope.original_max_positions;
  return json.dump();
}

Result<RopeConfig> rope_from_json(const std::string& text, const std::string& field_name) {
  const auto bad = [&field_name](const std::string& what) {
    return Error(ErrorCode::bad_format, what).at_field(field_name);
  };
  auto json = parse_json(text);
  if (!json) return std::move(json).error().at_field(field_name);
  if (!json->is_object()) return bad("not a JSON object");
  RopeConfig rope;
  for (const auto& [name, value] :
       {std::pair("dim", &rope.dim), std::pair("original_max_positions", &rope.original_max_positions)}) {
    const auto field = json->find(name);
    if (field == json->end() || !field->is_number_integer()) return bad(fmt::format("'{}' is not an integer", name));
    *value = field->get<std::int64_t>();
  }
  for (const auto& [name, value] :
       {std::pair("theta", &rope.theta), std::pair("factor", &rope.factor),
        std::pair("low_freq_factor", &rope.low_freq_factor), std::pair("high_freq_factor", &rope.high_freq_factor)}) {
    const auto field = json->find(name);
    if (field == json->end() || !field->is_number()) return bad(fmt::format("'{}' is not a number", name));
    *value = field->get<double>();
  }
  const auto field = json->find("scaling");
  for (const auto& [scaling, name] : scaling_names) {
    if (field != json->end() && *field == name) {
      rope.scaling = scaling;
      return rope;
    }
  }
  return bad("unknown scaling");
}

}  // namespace seqkv::io
