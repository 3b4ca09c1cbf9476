// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "seqkv/model_config.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "core/try.hpp"
#include "io/file.hpp"
#include "io/json.hpp"
#include "seqkv/limits.hpp"

namespace seqkv {
namespace {

using nlohmann::json;

Error refuse(const std::string& field, const std::string& what) {
  return Error(ErrorCode::unsupported, what).at_field(field);
}

/// Reads typed fields of one JSON object; null counts as absent.
class Fields {
 public:
  explicit Fields(const json& object) : object_(object) {}

  const json* find(const char* name) const {
    const auto found = object_.find(name);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }
  Result<std::int64_t> count(const char* name, std::int64_t limit, std::optional<std::int64_t> otherwise = {}) const {
    const json* value = find(name);
    if (value == nullptr && otherwise) return *otherwise;
    if (value == nullptr) return Error(ErrorCode::missing_field, "is missing").at_field(name);
    if (!value->is_number_integer()) return Error(ErrorCode::bad_format, "is not an integer").at_field(name);
    const auto number = value->get<std::int64_t>();
    if (number < 1 || number > limit) {
      return Error(ErrorCode::limit_exceeded, fmt::format("is {}, expected 1 to {}", number, limit)).at_field(name);
    }
    return number;
  }
  Result<double> number(const char* name, std::optional<double> otherwise = {}) const {
    const json* value = find(name);
    if (value == nullptr && otherwise) return *otherwise;
    if (value == nullptr) return Error(ErrorCode::missing_field, "is missing").at_field(name);
    if (!value->is_number() || !(value->get<double>() > 0)) {
      return Error(ErrorCode::bad_format, "is not a positive number").at_field(name);
    }
    return value->get<double>();
  }
  Result<bool> flag(const char* name, bool otherwise) const {
    const json* value = find(name);
    if (value == nullptr) return otherwise;
    if (!value->is_boolean()) return Error(ErrorCode::bad_format, "is not true or false").at_field(name);
    return value->get<bool>();
  }
  std::string text(const char* name, const std::string& otherwise) const {
    const json* value = find(name);
    return value != nullptr && value->is_string() ? value->get<std::string>() : otherwise;
  }

 private:
  const json& object_;
};

/// rope_parameters (transformers 5), or rope_theta beside rope_scaling (before).
Result<RopeConfig> parse_rope(const Fields& config, std::int64_t head_dim, std::int64_t max_positions) {
  static const json nothing = json::object();
  const char* name = config.find("rope_parameters") != nullptr ? "rope_parameters" : "rope_scaling";
  const json* object = config.find(name);
  if (object != nullptr && !object->is_object()) return Error(ErrorCode::bad_format, "is not an object").at_field(name);
  const Fields fields(object != nullptr ? *object : nothing);

  RopeConfig rope;
  rope.dim = head_dim;
  SEQKV_ASSIGN(const double outer_theta, config.number("rope_theta", 10000.0));
  SEQKV_ASSIGN(rope.theta, fields.number("rope_theta", outer_theta));
  for (const Fields* place : {&config, &fields}) {
    SEQKV_ASSIGN(const double part, place->number("partial_rotary_factor", 1.0));
    if (part != 1.0) return refuse("partial_rotary_factor", fmt::format("{} is not implemented (1 is)", part));
  }
  const std::string type = fields.text("rope_type", fields.text("type", "default"));
  if (type == "default") return rope;
  SEQKV_ASSIGN(rope.factor, fields.number("factor"));
  if (type == "linear") {
    rope.scaling = RopeScaling::linear;
    return rope;
  }
  if (type == "llama3") {
    rope.scaling = RopeScaling::llama3;
    SEQKV_ASSIGN(rope.low_freq_factor, fields.number("low_freq_factor"));
    SEQKV_ASSIGN(rope.high_freq_factor, fields.number("high_freq_factor"));
    SEQKV_ASSIGN(rope.original_max_positions,
                 fields.count("original_max_position_embeddings", limits::max_tokens, max_positions));
    if (rope.high_freq_factor == rope.low_freq_factor) {
      return Error(ErrorCode::bad_format, "equals low_freq_factor").at_field("high_freq_factor");
    }
    return rope;
  }
  return refuse(name, fmt::format("rope type '{}' is not implemented (default, linear, llama3 are)", type));
}

/// Which layers see a sliding window only: all of Mistral's; those that Qwen's layer_types name.
Result<std::vector<std::int64_t>> parse_windows(const Fields& config, const ModelConfig& model) {
  std::vector<std::int64_t> window(static_cast<std::size_t>(model.layers), 0);
  if (config.find("sliding_window") == nullptr || model.type == "llama") return window;
  SEQKV_ASSIGN(const std::int64_t size, config.count("sliding_window", limits::max_tokens));
  if (model.type == "mistral") {
    window.assign(window.size(), size);
    return window;
  }
  SEQKV_ASSIGN(const bool used, config.flag("use_sliding_window", false));
  if (!used) return window;
  const json* types = config.find("layer_types");
  if (types != nullptr && (!types->is_array() || types->size() != window.size())) {
    return Error(ErrorCode::bad_format, "is not an array with an entry a layer").at_field("layer_types");
  }
  SEQKV_ASSIGN(const std::int64_t full_layers, config.count("max_window_layers", limits::max_layers, model.layers));
  for (std::size_t layer = 0; layer < window.size(); ++layer) {
    const bool slides = types != nullptr ? (*types)[layer] == "sliding_attention"
                                         : static_cast<std::int64_t>(layer) >= full_layers;
    if (slides) window[layer] = size;
  }
  return window;
}

Result<ModelConfig> parse_fields(const json& document) {
  if (!document.is_object()) return Error(ErrorCode::bad_format, "not a JSON object");
  const Fields config(document);
  ModelConfig model;
  model.type = config.text("model_type", "");
  if (model.type != "llama" && model.type != "mistral" && model.type != "qwen2" && model.type != "qwen3") {
    return refuse("model_type", fmt::format("'{}' is not implemented (llama, mistral, qwen2, qwen3 are)", model.type));
  }
  if (const auto act = config.text("hidden_act", "silu"); act != "silu") {
    return refuse("hidden_act", fmt::format("'{}' is not implemented (silu is)", act));
  }
  if (config.find("quantization_config") != nullptr) return refuse("quantization_config", "quantized weights are not implemented");
  SEQKV_ASSIGN(model.hidden, config.count("hidden_size", limits::max_hidden));
  SEQKV_ASSIGN(model.intermediate, config.count("intermediate_size", limits::max_hidden * 8));
  SEQKV_ASSIGN(model.layers, config.count("num_hidden_layers", limits::max_layers));
  SEQKV_ASSIGN(model.query_heads, config.count("num_attention_heads", limits::max_query_heads));
  SEQKV_ASSIGN(model.kv_heads, config.count("num_key_value_heads", limits::max_kv_heads, model.query_heads));
  SEQKV_ASSIGN(model.head_dim,
               config.count("head_dim", limits::max_head_dim, std::max<std::int64_t>(model.hidden / model.query_heads, 1)));
  SEQKV_ASSIGN(model.vocabulary, config.count("vocab_size", limits::max_vocabulary));
  SEQKV_ASSIGN(model.max_positions, config.count("max_position_embeddings", limits::max_tokens, 2048));
  SEQKV_ASSIGN(model.norm_epsilon, config.number("rms_norm_eps", 1e-6));
  SEQKV_ASSIGN(model.tied_embeddings, config.flag("tie_word_embeddings", false));
  SEQKV_ASSIGN(const bool attention_bias, config.flag("attention_bias", false));
  SEQKV_ASSIGN(model.mlp_bias, config.flag("mlp_bias", false));
  if (model.query_heads % model.kv_heads != 0) {
    return Error(ErrorCode::bad_format, fmt::format("{} query heads cannot share {} KV heads evenly", model.query_heads,
                                                    model.kv_heads))
        .at_field("num_key_value_heads");
  }
  if (model.head_dim % 2 != 0) return Error(ErrorCode::bad_format, "is odd").at_field("head_dim");
  model.qkv_bias = model.type == "qwen2" || (model.type != "mistral" && attention_bias);
  model.output_bias = model.type != "qwen2" && model.type != "mistral" && attention_bias;
  model.qk_norm = model.type == "qwen3";
  SEQKV_ASSIGN(model.rope, parse_rope(config, model.head_dim, model.max_positions));
  SEQKV_ASSIGN(model.window, parse_windows(config, model));
  const json* bos = config.find("bos_token_id");
  if (bos != nullptr && bos->is_number_unsigned() && bos->get<std::int64_t>() < model.vocabulary) {
    model.bos = bos->get<Token>();
  }
  return model;
}

}  // namespace

Result<ModelConfig> ModelConfig::parse(std::string_view text) {
  SEQKV_ASSIGN(const json document, io::parse_json(text));
  return parse_fields(document);
}

Result<ModelConfig> ModelConfig::load(const std::filesystem::path& path) {
  SEQKV_ASSIGN(const std::string text, io::read_file(path, limits::max_json_bytes));
  auto config = parse(text);
  if (!config) return std::move(config).error().in_file(path.string());
  return config;
}

Digest ModelConfig::fingerprint() const {
  Sha256 hash;
  hash.update(type).update(std::uint64_t{0});
  for (std::int64_t number : {hidden, intermediate, layers, query_heads, kv_heads, head_dim, vocabulary, rope.dim,
                              rope.original_max_positions}) {
    hash.update(static_cast<std::uint64_t>(number));
  }
  for (bool flag : {tied_embeddings, qkv_bias, output_bias, mlp_bias, qk_norm}) hash.update(std::uint64_t{flag});
  for (double number : {norm_epsilon, rope.theta, rope.factor, rope.low_freq_factor, rope.high_freq_factor}) {
    hash.update(std::bit_cast<std::uint64_t>(number));
  }
  hash.update(static_cast<std::uint64_t>(rope.scaling));
  for (std::int64_t size : window) hash.update(static_cast<std::uint64_t>(size));
  return hash.finish();
}

}  // namespace seqkv
