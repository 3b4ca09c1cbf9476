// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// config.json: the four families with transformers' defaults, both spellings of the rotation, refusals that
// name their field, and a fingerprint of all that changes results and nothing else.
#include "seqkv/model_config.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "seqkv/limits.hpp"
#include "support/files.hpp"
#include "support/result.hpp"

namespace seqkv {
namespace {

using nlohmann::json;
using test::error_of;
using test::value_of;
using Windows = std::vector<std::int64_t>;

/// The fields that no config goes without.
json config_of(const std::string& type) {
  return {{"model_type", type},     {"vocab_size", 1000},       {"hidden_size", 64},       {"intermediate_size", 96},
          {"num_hidden_layers", 3}, {"num_attention_heads", 8}, {"num_key_value_heads", 2}};
}

json with(json config, const std::string& field, const json& value) {
  config[field] = value;
  return config;
}

json without(json config, const std::string& field) {
  config.erase(field);
  return config;
}

ModelConfig parse(const json& config) { return value_of(ModelConfig::parse(config.dump())); }

Error refusal(const json& config) { return error_of(ModelConfig::parse(config.dump())); }

// ---- families ---------------------------------------------------------------------------------------------

TEST(ModelConfig, LlamaWithDefaults) {
  const ModelConfig config = parse(without(config_of("llama"), "num_key_value_heads"));
  EXPECT_EQ(config.type, "llama");
  EXPECT_EQ(config.hidden, 64);
  EXPECT_EQ(config.intermediate, 96);
  EXPECT_EQ(config.layers, 3);
  EXPECT_EQ(config.query_heads, 8);
  EXPECT_EQ(config.kv_heads, 8);
  EXPECT_EQ(config.head_dim, 8);
  EXPECT_EQ(config.vocabulary, 1000);
  EXPECT_EQ(config.max_positions, 2048);
  EXPECT_EQ(config.norm_epsilon, 1e-6);
  EXPECT_EQ(config.rope, (RopeConfig{.theta = 10000.0, .dim = 8}));
  EXPECT_EQ(config.window, (Windows{0, 0, 0}));
  for (bool flag : {config.tied_embeddings, config.qkv_bias, config.output_bias, config.mlp_bias, config.qk_norm}) {
    EXPECT_FALSE(flag);
  }
  EXPECT_FALSE(config.bos);
}

TEST(ModelConfig, LlamaInFull) {
  json full = config_of("llama");
  full.update({{"head_dim", 32},
               {"max_position_embeddings", 4096},
               {"rms_norm_eps", 1e-5},
               {"tie_word_embeddings", true},
               {"attention_bias", true},
               {"mlp_bias", true},
               {"bos_token_id", 7},
               {"rope_theta", 5e5},
               {"hidden_act", "silu"}});
  const ModelConfig config = parse(full);
  EXPECT_EQ(config.kv_heads, 2);
  EXPECT_EQ(config.head_dim, 32);
  EXPECT_EQ(config.max_positions, 4096);
  EXPECT_EQ(config.norm_epsilon, 1e-5);
  EXPECT_TRUE(config.tied_embeddings);
  EXPECT_TRUE(config.qkv_bias);
  EXPECT_TRUE(config.output_bias);
  EXPECT_TRUE(config.mlp_bias);
  EXPECT_EQ(config.bos, Token{7});
  EXPECT_EQ(config.rope.theta, 5e5);
  EXPECT_EQ(config.kv_shape(DType::f16), (KvShape{3, 2, 32, config.rope, DType::f16}));
}

TEST(ModelConfig, MistralSlidesInEveryLayerUnlessToldNotTo) {
  const json mistral = with(config_of("mistral"), "attention_bias", true);
  EXPECT_EQ(parse(mistral).window, (Windows{4096, 4096, 4096}));  // transformers' default
  EXPECT_EQ(parse(with(mistral, "sliding_window", 100)).window, (Windows{100, 100, 100}));
  EXPECT_EQ(parse(with(mistral, "sliding_window", nullptr)).window, (Windows{0, 0, 0}));
  EXPECT_EQ(parse(without(mistral, "num_key_value_heads")).kv_heads, 8);
  EXPECT_FALSE(parse(mistral).qkv_bias);  // it has none, whatever the config says
  EXPECT_EQ(parse(mistral).max_positions, 131072);
}

TEST(ModelConfig, Qwen2HasBiasesOfItsOwn) {
  const ModelConfig config = parse(with(config_of("qwen2"), "mlp_bias", true));
  EXPECT_TRUE(config.qkv_bias);
  EXPECT_FALSE(config.output_bias);
  EXPECT_FALSE(config.mlp_bias);
  EXPECT_FALSE(config.qk_norm);
  EXPECT_EQ(config.head_dim, 8);
  EXPECT_EQ(config.max_positions, 32768);
  json many_heads = with(without(config_of("qwen2"), "num_key_value_heads"), "num_attention_heads", 64);
  many_heads["hidden_size"] = 1024;
  EXPECT_EQ(parse(many_heads).kv_heads, 32);
  EXPECT_EQ(parse(with(many_heads, "num_key_value_heads", nullptr)).kv_heads, 64);
}

TEST(ModelConfig, Qwen3NormsQueriesAndKeys) {
  const ModelConfig config = parse(config_of("qwen3"));
  EXPECT_TRUE(config.qk_norm);
  EXPECT_FALSE(config.qkv_bias);
  EXPECT_EQ(config.head_dim, 128);
  EXPECT_TRUE(parse(with(config_of("qwen3"), "attention_bias", true)).output_bias);
}

TEST(ModelConfig, QwenSlidesOnlyWhereItIsAskedTo) {
  json qwen = with(config_of("qwen2"), "sliding_window", 50);
  EXPECT_EQ(parse(qwen).window, (Windows{0, 0, 0}));
  qwen["use_sliding_window"] = true;
  EXPECT_EQ(parse(qwen).window, (Windows{0, 0, 0}));  // from layer 28 on, by default
  EXPECT_EQ(parse(with(qwen, "max_window_layers", 1)).window, (Windows{0, 50, 50}));
  EXPECT_EQ(parse(with(qwen, "max_window_layers", 0)).window, (Windows{50, 50, 50}));
  qwen["layer_types"] = {"sliding_attention", "full_attention", "sliding_attention"};
  EXPECT_EQ(parse(qwen).window, (Windows{50, 0, 50}));
  EXPECT_EQ(parse(without(qwen, "sliding_window")).window, (Windows{4096, 0, 4096}));
  EXPECT_EQ(parse(with(qwen, "sliding_window", nullptr)).window, (Windows{0, 0, 0}));
  EXPECT_EQ(parse(with(qwen, "use_sliding_window", false)).window, (Windows{0, 0, 0}));
  EXPECT_EQ(parse(with(config_of("llama"), "sliding_window", 50)).window, (Windows{0, 0, 0}));
}

TEST(ModelConfig, BosMustBeInTheVocabulary) {
  const auto bos = [](const json& id) { return parse(with(config_of("llama"), "bos_token_id", id)).bos; };
  EXPECT_EQ(bos(0), Token{0});
  EXPECT_EQ(bos(999), Token{999});
  for (const json& other : {json(1000), json(-1), json(18446744073709551615ULL), json(nullptr), json::array({1, 2})}) {
    EXPECT_FALSE(bos(other)) << other;
  }
}

// ---- rotation ---------------------------------------------------------------------------------------------

const json llama3 = {{"rope_type", "llama3"},
                     {"factor", 8.0},
                     {"low_freq_factor", 1.0},
                     {"high_freq_factor", 4.0},
                     {"original_max_position_embeddings", 8192}};

TEST(ModelConfigRope, OldAndNewSpelling) {
  const RopeConfig expected{5e5, RopeScaling::llama3, 8, 1, 4, 8192, 8};
  json old = with(config_of("llama"), "rope_theta", 5e5);
  EXPECT_EQ(parse(with(old, "rope_scaling", llama3)).rope, expected);
  EXPECT_EQ(parse(with(config_of("llama"), "rope_parameters", with(llama3, "rope_theta", 5e5))).rope, expected);
  // What the new object leaves out is taken from beside it.
  EXPECT_EQ(parse(with(old, "rope_parameters", llama3)).rope, expected);
  EXPECT_EQ(parse(with(old, "rope_scaling", nullptr)).rope, (RopeConfig{.theta = 5e5, .dim = 8}));
}

TEST(ModelConfigRope, LinearByEitherNameOfTheType) {
  const RopeConfig expected{.theta = 10000, .scaling = RopeScaling::linear, .factor = 2.5, .dim = 8};
  for (const char* name : {"type", "rope_type"}) {
    EXPECT_EQ(parse(with(config_of("llama"), "rope_scaling", {{name, "linear"}, {"factor", 2.5}})).rope, expected);
  }
}

TEST(ModelConfigRope, OriginalPositionsDefaultToThoseOfTheModel) {
  const json config = with(config_of("llama"), "max_position_embeddings", 5000);
  const json scaling = without(llama3, "original_max_position_embeddings");
  EXPECT_EQ(parse(with(config, "rope_scaling", scaling)).rope.original_max_positions, 5000);
}

TEST(ModelConfigRope, RefusalsNameTheField) {
  struct Case {
    json scaling;
    ErrorCode code;
    const char* field;
  };
  for (const Case& bad : std::vector<Case>{
           {{{"rope_type", "yarn"}, {"factor", 2}}, ErrorCode::unsupported, "rope_scaling"},
           {{{"type", "dynamic"}, {"factor", 2}}, ErrorCode::unsupported, "rope_scaling"},
           {{{"full_attention", {{"rope_type", "default"}}}}, ErrorCode::unsupported, "rope_scaling"},
           {{{"partial_rotary_factor", 0.5}}, ErrorCode::unsupported, "partial_rotary_factor"},
           {{{"type", "linear"}}, ErrorCode::missing_field, "factor"},
           {{{"type", "linear"}, {"factor", 0}}, ErrorCode::bad_format, "factor"},
           {{{"type", "linear"}, {"factor", "2"}}, ErrorCode::bad_format, "factor"},
           {{{"type", 5}}, ErrorCode::bad_format, "type"},
           {{{"rope_type", json::array()}}, ErrorCode::bad_format, "rope_type"},
           {without(llama3, "low_freq_factor"), ErrorCode::missing_field, "low_freq_factor"},
           {without(llama3, "high_freq_factor"), ErrorCode::missing_field, "high_freq_factor"},
           {with(llama3, "high_freq_factor", 1.0), ErrorCode::bad_format, "high_freq_factor"},
           {with(llama3, "original_max_position_embeddings", 0), ErrorCode::limit_exceeded,
            "original_max_position_embeddings"},
           {"linear", ErrorCode::bad_format, "rope_scaling"},
       }) {
    const Error error = refusal(with(config_of("llama"), "rope_scaling", bad.scaling));
    EXPECT_EQ(error.code, bad.code) << bad.scaling << error.describe();
    EXPECT_EQ(error.field, bad.field) << bad.scaling << error.describe();
  }
  const json parameters = {{"rope_type", "longrope"}, {"factor", 2}};
  EXPECT_EQ(refusal(with(config_of("llama"), "rope_parameters", parameters)).field, "rope_parameters");
}

// ---- refusals ---------------------------------------------------------------------------------------------

TEST(ModelConfigRefused, NamesTheField) {
  struct Case {
    const char* field;
    json value;
    ErrorCode code;
  };
  for (const Case& bad : std::vector<Case>{
           {"model_type", "gpt2", ErrorCode::unsupported},
           {"model_type", 5, ErrorCode::bad_format},
           {"hidden_act", "gelu", ErrorCode::unsupported},
           {"hidden_act", 5, ErrorCode::bad_format},
           {"quantization_config", {{"bits", 4}}, ErrorCode::unsupported},
           {"partial_rotary_factor", 0.5, ErrorCode::unsupported},
           {"rope_theta", 0, ErrorCode::bad_format},
           {"rope_theta", -1, ErrorCode::bad_format},
           {"rms_norm_eps", "1e-5", ErrorCode::bad_format},
           {"hidden_size", 64.0, ErrorCode::bad_format},
           {"hidden_size", "64", ErrorCode::bad_format},
           {"hidden_size", nullptr, ErrorCode::missing_field},
           {"hidden_size", 0, ErrorCode::limit_exceeded},
           {"hidden_size", -64, ErrorCode::limit_exceeded},
           {"hidden_size", limits::max_hidden + 1, ErrorCode::limit_exceeded},
           {"intermediate_size", 8 * limits::max_hidden + 1, ErrorCode::limit_exceeded},
           {"num_hidden_layers", limits::max_layers + 1, ErrorCode::limit_exceeded},
           {"num_attention_heads", limits::max_query_heads + 1, ErrorCode::limit_exceeded},
           {"num_key_value_heads", limits::max_kv_heads + 1, ErrorCode::limit_exceeded},
           {"num_key_value_heads", 3, ErrorCode::bad_format},
           {"head_dim", limits::max_head_dim + 2, ErrorCode::limit_exceeded},
           {"head_dim", 7, ErrorCode::bad_format},
           {"vocab_size", limits::max_vocabulary + 1, ErrorCode::limit_exceeded},
           {"vocab_size", 18446744073709551615ULL, ErrorCode::limit_exceeded},
           {"max_position_embeddings", limits::max_tokens + 1, ErrorCode::limit_exceeded},
           {"tie_word_embeddings", 1, ErrorCode::bad_format},
           {"attention_bias", "no", ErrorCode::bad_format},
           {"mlp_bias", 0, ErrorCode::bad_format},
       }) {
    const Error error = refusal(with(config_of("llama"), bad.field, bad.value));
    EXPECT_EQ(error.code, bad.code) << bad.field << bad.value << error.describe();
    EXPECT_EQ(error.field, bad.field) << bad.value << error.describe();
  }
}

TEST(ModelConfigRefused, SlidingWindowsNameTheField) {
  const json qwen = with(with(config_of("qwen2"), "use_sliding_window", true), "sliding_window", 50);
  EXPECT_EQ(refusal(with(qwen, "use_sliding_window", 1)).field, "use_sliding_window");
  EXPECT_EQ(refusal(with(qwen, "sliding_window", 0)).field, "sliding_window");
  EXPECT_EQ(refusal(with(qwen, "max_window_layers", -1)).field, "max_window_layers");
  EXPECT_EQ(refusal(with(qwen, "layer_types", "full_attention")).field, "layer_types");
  EXPECT_EQ(refusal(with(qwen, "layer_types", {"full_attention"})).field, "layer_types");
  const Error error = refusal(with(qwen, "layer_types", {"full_attention", "chunked_attention", 5}));
  EXPECT_EQ(error.field, "layer_types");
  EXPECT_NE(error.message.find("chunked_attention"), std::string::npos);
}

TEST(ModelConfigRefused, EveryRequiredFieldIsMissed) {
  for (const char* field :
       {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"}) {
    const Error error = refusal(without(config_of("llama"), field));
    EXPECT_EQ(error.code, ErrorCode::missing_field) << field;
    EXPECT_EQ(error.field, field);
  }
}

TEST(ModelConfigRefused, DefaultsKeepTheLimitsToo) {
  json wide = with(without(config_of("llama"), "num_key_value_heads"), "hidden_size", 4096);
  EXPECT_EQ(refusal(with(wide, "num_attention_heads", 2048)).field, "num_key_value_heads");
  EXPECT_EQ(refusal(with(wide, "num_attention_heads", 1)).field, "head_dim");
}

TEST(ModelConfigRefused, WhatIsNotAnObject) {
  EXPECT_CODE(ModelConfig::parse("[]"), ErrorCode::bad_format);
  EXPECT_CODE(ModelConfig::parse(""), ErrorCode::bad_format);
  EXPECT_CODE(ModelConfig::parse("{\"rope_theta\":1e999}"), ErrorCode::bad_format);
}

TEST(ModelConfigRefused, NamesTheFile) {
  const test::ScratchFolder folder;
  const auto path = folder.write("config.json", with(config_of("llama"), "hidden_act", "gelu").dump());
  EXPECT_EQ(error_of(ModelConfig::load(path)).file, path.string());
  EXPECT_CODE(ModelConfig::load(folder.path() / "none.json"), ErrorCode::file_not_found);
}

TEST(ModelConfig, ReadsTheEmbeddedModel) {
  const ModelConfig config = value_of(ModelConfig::load(SEQKV_MODEL "/config.json"));
  EXPECT_EQ(config.kv_shape(DType::bf16).describe(), "8 layers x 2 KV heads x 64 (bf16)");
  EXPECT_TRUE(config.tied_embeddings);
}

// ---- fingerprint ------------------------------------------------------------------------------------------

TEST(ModelConfigFingerprint, ChangesWithEveryFieldThatChangesResults) {
  const ModelConfig base = parse(config_of("llama"));
  const std::vector<std::function<void(ModelConfig&)>> changes = {
      [](ModelConfig& c) { c.type = "mistral"; },
      [](ModelConfig& c) { c.hidden += 2; },
      [](ModelConfig& c) { c.intermediate += 2; },
      [](ModelConfig& c) { c.layers += 1; },
      [](ModelConfig& c) { c.query_heads += 1; },
      [](ModelConfig& c) { c.kv_heads += 1; },
      [](ModelConfig& c) { c.head_dim += 2; },
      [](ModelConfig& c) { c.vocabulary += 1; },
      [](ModelConfig& c) { c.norm_epsilon *= 2; },
      [](ModelConfig& c) { c.tied_embeddings = true; },
      [](ModelConfig& c) { c.qkv_bias = true; },
      [](ModelConfig& c) { c.output_bias = true; },
      [](ModelConfig& c) { c.mlp_bias = true; },
      [](ModelConfig& c) { c.qk_norm = true; },
      [](ModelConfig& c) { c.rope.theta += 1; },
      [](ModelConfig& c) { c.rope.scaling = RopeScaling::linear; },
      [](ModelConfig& c) { c.rope.factor += 1; },
      [](ModelConfig& c) { c.rope.low_freq_factor += 1; },
      [](ModelConfig& c) { c.rope.high_freq_factor += 1; },
      [](ModelConfig& c) { c.rope.original_max_positions += 1; },
      [](ModelConfig& c) { c.rope.dim -= 2; },
      [](ModelConfig& c) { c.window[1] = 5; },
      [](ModelConfig& c) { c.window[2] = 5; },
  };
  std::vector<Digest> seen = {base.fingerprint()};
  for (std::size_t i = 0; i < changes.size(); ++i) {
    ModelConfig changed = base;
    changes[i](changed);
    for (const Digest& other : seen) EXPECT_NE(changed.fingerprint(), other) << "change " << i;
    seen.push_back(changed.fingerprint());
  }
}

TEST(ModelConfigFingerprint, DoesNotChangeWithWhatDoesNot) {
  const Digest expected = parse(config_of("llama")).fingerprint();
  EXPECT_EQ(parse(with(config_of("llama"), "bos_token_id", 3)).fingerprint(), expected);
  EXPECT_EQ(parse(with(config_of("llama"), "max_position_embeddings", 99)).fingerprint(), expected);
  EXPECT_EQ(parse(with(config_of("llama"), "torch_dtype", "float16")).fingerprint(), expected);
  EXPECT_EQ(parse(with(config_of("llama"), "head_dim", 8)).fingerprint(), expected);
  EXPECT_EQ(parse(with(config_of("llama"), "rope_parameters", {{"rope_theta", 10000}})).fingerprint(), expected);
}

}  // namespace
}  // namespace seqkv
