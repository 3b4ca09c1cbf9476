// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "seqkv/model_config.hpp"

#include <fmt/format.h>
#include <algorithm>
#include <bit>

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
    if (value == nullptr && !otherwise) return Error(ErrorCode::missing_field, "is missing").at_field(name);
    if (value != nullptr && !value->is_number_integer()) {
      return Error(ErrorCode::bad_format, "is not an integer").at_field(name);
    }
    // What is above 2^63 turns negative here, and is refused all the same.
    const auto number = value != nullptr ? value->get<std::int64_t>() : *otherwise;
    if (number < 1 || number > limit) {
      const std::string words = value != nullptr ? value->dump() : fmt::format("{} by default", number);
      return Error(ErrorCode::limit_exceeded, fmt::format("is {}, expected 1 to {}", words, limit)).at_field(name);
    }
    return number;
  }
  /// A number of layers, which may be 0.
  Result<std::int64_t> layer_count(const char* name, std::int64_t otherwise) const {
    const json* value = find(name);
    if (value != nullptr && *value == 0) return 0;
    return count(name, INT32_MAX, otherwise);
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
  Result<std::string> text(const char* name, const std::string& otherwise) const {
    const json* value = find(name);
    if (value == nullptr) return otherwise;
    if (!value->is_string()) return Error(ErrorCode::bad_format, "is not a text").at_field(name);
    return value->get<std::string>();
  }
  /// Whether the field is there and null, where null means another thing than absence.
  bool is_null(const char* name) const {
    const auto found = object_.find(name);
    return found != object_.end() && found->is_null();
  }

 private:
  const json& object_;
};

/// What transformers takes for a field that is absent.
struct Defaults {
  std::int64_t kv_heads = 0;  ///< 0: as many as query heads
  std::int64_t head_dim = 0;  ///< 0: hidden / query heads
  std::int64_t max_positions = 0;
};
constexpr std::int64_t default_window = 4096;

/// Errors: unsupported for another family.
Result<Defaults> defaults_of(const std::string& type) {
  if (type == "llama") return Defaults{0, 0, 2048};
  if (type == "mistral") return Defaults{8, 0, 131072};
  if (type == "qwen2") return Defaults{32, 0, 32768};
  if (type == "qwen3") return Defaults{32, 128, 32768};
  return refuse("model_type", fmt::format("'{}' is not implemented (llama, mistral, qwen2, qwen3 are)", type));
}

/// rope_parameters (transformers 5), or rope_theta beside rope_scaling (before), which goes first.
Result<RopeConfig> parse_rope(const Fields& config, std::int64_t head_dim, std::int64_t max_positions) {
  static const json nothing = json::object();
  const char* name = config.find("rope_scaling") != nullptr ? "rope_scaling" : "rope_parameters";
  const json* object = config.find(name);
  if (object != nullptr && !object->is_object()) return Error(ErrorCode::bad_format, "is not an object").at_field(name);
  const Fields fields(object != nullptr ? *object : nothing);
  for (const auto& [key, value] : (object != nullptr ? *object : nothing).items()) {
    if (value.is_object()) return refuse(name, fmt::format("a rotation of its own for '{}' is not implemented", key));
  }

  RopeConfig rope;
  rope.dim = head_dim;
  SEQKV_ASSIGN(const double outer_theta, config.number("rope_theta", 10000.0));
  SEQKV_ASSIGN(rope.theta, fields.number("rope_theta", outer_theta));
  for (const Fields* place : {&config, &fields}) {
    SEQKV_ASSIGN(const double part, place->number("partial_rotary_factor", 1.0));
    if (part != 1.0) return refuse("partial_rotary_factor", fmt::format("{} is not implemented (1 is)", part));
  }
  SEQKV_ASSIGN(const std::string old_type, fields.text("type", "default"));
  SEQKV_ASSIGN(const std::string type, fields.text("rope_type", old_type));
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

/// Which layers see a sliding window only: all of Mistral's; those that Qwen's layer_types or max_window_layers name.
Result<std::vector<std::int64_t>> parse_windows(const Fields& config, const ModelConfig& model) {
  std::vector<std::int64_t> window(static_cast<std::size_t>(model.layers), 0);
  if (model.type == "llama" || config.is_null("sliding_window")) return window;
  SEQKV_ASSIGN(const std::int64_t size, config.count("sliding_window", limits::max_tokens, default_window));
  if (model.type == "mistral") {
    window.assign(window.size(), size);
    return window;
  }
  SEQKV_ASSIGN(const bool used, config.flag("use_sliding_window", false));
  if (!used) return window;
  SEQKV_ASSIGN(const std::int64_t full_layers, config.layer_count("max_window_layers", 28));
  const json* types = config.find("layer_types");
  if (types != nullptr && (!types->is_array() || types->size() != window.size())) {
    return Error(ErrorCode::bad_format, "is not an array with an entry a layer").at_field("layer_types");
  }
  for (std::size_t layer = 0; layer < window.size(); ++layer) {
    bool slides = static_cast<std::int64_t>(layer) >= full_layers;
    if (types != nullptr) {
      slides = (*types)[layer] == "sliding_attention";
      if (!slides && (*types)[layer] != "full_attention") {
        return refuse("layer_types", fmt::format("{} is not implemented (full and sliding attention are)",
                                                 (*types)[layer].dump(-1, ' ', true)));
      }
    }
    if (slides) window[layer] = size;
  }
  return window;
}

/// The first of a text's tokens, if the vocabulary has it; some configs name one list or a token of another model.
std::optional<Token> parse_bos(const Fields& config, std::int64_t vocabulary) {
  const json* bos = config.find("bos_token_id");
  if (bos == nullptr || !bos->is_number_unsigned()) return std::nullopt;
  const auto id = bos->get<std::uint64_t>();
  if (id >= static_cast<std::uint64_t>(vocabulary)) return std::nullopt;
  return static_cast<Token>(id);
}

Result<ModelConfig> parse_fields(const json& document) {
  if (!document.is_object()) return Error(ErrorCode::bad_format, "not a JSON object");
  const Fields config(document);
  ModelConfig model;
  SEQKV_ASSIGN(model.type, config.text("model_type", ""));
  SEQKV_ASSIGN(const Defaults defaults, defaults_of(model.type));
  SEQKV_ASSIGN(const std::string activation, config.text("hidden_act", "silu"));
  if (activation != "silu") return refuse("hidden_act", fmt::format("'{}' is not implemented (silu is)", activation));
  if (config.find("quantization_config") != nullptr)
    return refuse("quantization_config", "quantized weights are not implemented");
  SEQKV_ASSIGN(model.hidden, config.count("hidden_size", limits::max_hidden));
  SEQKV_ASSIGN(model.intermediate, config.count("intermediate_size", limits::max_hidden * 8));
  SEQKV_ASSIGN(model.layers, config.count("num_hidden_layers", limits::max_layers));
  SEQKV_ASSIGN(model.query_heads, config.count("num_attention_heads", limits::max_query_heads));
  const bool own_kv_heads = defaults.kv_heads == 0 || config.is_null("num_key_value_heads");
  SEQKV_ASSIGN(model.kv_heads, config.count("num_key_value_heads", limits::max_kv_heads,
                                            own_kv_heads ? model.query_heads : defaults.kv_heads));
  const std::int64_t share = std::max<std::int64_t>(model.hidden / model.query_heads, 1);
  SEQKV_ASSIGN(model.head_dim,
               config.count("head_dim", limits::max_head_dim, defaults.head_dim > 0 ? defaults.head_dim : share));
  SEQKV_ASSIGN(model.vocabulary, config.count("vocab_size", limits::max_vocabulary));
  SEQKV_ASSIGN(model.max_positions,
               config.count("max_position_embeddings", limits::max_tokens, defaults.max_positions));
  SEQKV_ASSIGN(model.norm_epsilon, config.number("rms_norm_eps", 1e-6));
  SEQKV_ASSIGN(model.tied_embeddings, config.flag("tie_word_embeddings", false));
  SEQKV_ASSIGN(const bool attention_bias, config.flag("attention_bias", false));
  SEQKV_ASSIGN(const bool mlp_bias, config.flag("mlp_bias", false));
  if (model.query_heads % model.kv_heads != 0) {
    return Error(ErrorCode::bad_format,
                 fmt::format("{} query heads cannot share {} KV heads evenly", model.query_heads, model.kv_heads))
        .at_field("num_key_value_heads");
  }
  if (model.head_dim % 2 != 0) return Error(ErrorCode::bad_format, "is odd").at_field("head_dim");
  model.qkv_bias = model.type == "qwen2" || (model.type != "mistral" && attention_bias);
  model.output_bias = model.type != "qwen2" && model.type != "mistral" && attention_bias;
  model.mlp_bias = model.type == "llama" && mlp_bias;
  model.qk_norm = model.type == "qwen3";
  SEQKV_ASSIGN(model.rope, parse_rope(config, model.head_dim, model.max_positions));
  SEQKV_ASSIGN(model.window, parse_windows(config, model));
  model.bos = parse_bos(config, model.vocabulary);
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
