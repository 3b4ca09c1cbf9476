// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Model folders that are not right: each is refused with a code, and with the file, the tensor and the element
// that are the reason.
#include <gtest/gtest.h>

#include <Kokkos_Core.hpp>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "core/float16.hpp"
#include "seqkv/model.hpp"
#include "support/files.hpp"
#include "support/result.hpp"
#include "support/safetensors.hpp"

namespace seqkv {
namespace {

using nlohmann::json;
using test::error_of;
using test::value_of;
using Space = Kokkos::DefaultHostExecutionSpace;

struct Tensor {
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::string bytes;
};
using Tensors = std::map<std::string, Tensor>;

Tensor make_tensor(const std::vector<std::int64_t>& shape, const std::string& dtype = "F32") {
  std::int64_t elements = 1;
  for (std::int64_t extent : shape) elements *= extent;
  std::string bytes;
  for (std::int64_t i = 0; i < elements; ++i) {
    const float value = 0.01F * static_cast<float>(i % 17) - 0.05F;
    const std::uint16_t half = dtype == "BF16" ? float_to_bf16(value) : float_to_f16(value);
    bytes += dtype == "F32" ? std::string(reinterpret_cast<const char*>(&value), 4)
                            : std::string(reinterpret_cast<const char*>(&half), 2);
  }
  return {dtype, shape, bytes};
}

/// A model of one layer, hidden 8, 2 query heads of 4 on one KV head, vocabulary 10.
json good_config() {
  return {{"model_type", "llama"},    {"vocab_size", 10},           {"hidden_size", 8},
          {"intermediate_size", 6},   {"num_hidden_layers", 1},     {"num_attention_heads", 2},
          {"num_key_value_heads", 1}, {"tie_word_embeddings", true}};
}

Tensors good_tensors() {
  const std::string layer = "model.layers.0.";
  return {{"model.embed_tokens.weight", make_tensor({10, 8})},
          {"model.norm.weight", make_tensor({8})},
          {layer + "input_layernorm.weight", make_tensor({8})},
          {layer + "post_attention_layernorm.weight", make_tensor({8})},
          {layer + "self_attn.q_proj.weight", make_tensor({8, 8})},
          {layer + "self_attn.k_proj.weight", make_tensor({4, 8})},
          {layer + "self_attn.v_proj.weight", make_tensor({4, 8})},
          {layer + "self_attn.o_proj.weight", make_tensor({8, 8})},
          {layer + "mlp.gate_proj.weight", make_tensor({6, 8})},
          {layer + "mlp.up_proj.weight", make_tensor({6, 8})},
          {layer + "mlp.down_proj.weight", make_tensor({8, 6})}};
}

std::string to_file(const Tensors& tensors) {
  json header = json::object();
  std::string buffer;
  for (const auto& [name, tensor] : tensors) {
    header[name] = {{"dtype", tensor.dtype},
                    {"shape", tensor.shape},
                    {"data_offsets", {buffer.size(), buffer.size() + tensor.bytes.size()}}};
    buffer += tensor.bytes;
  }
  return test::safetensors(header.dump(), buffer);
}

class ModelErrors : public testing::Test {
 protected:
  test::ScratchFolder folder;
  json config = good_config();
  Tensors tensors = good_tensors();

  Result<std::shared_ptr<const Model<Space>>> load() {
    folder.write("config.json", config.dump());
    folder.write("model.safetensors", to_file(tensors));
    return Model<Space>::load(Space(), folder.path());
  }
  /// The error must name the weights' file and the tensor.
  void expect_refused(ErrorCode code, const std::string& tensor, const std::string& words) {
    const Error error = error_of(load());
    EXPECT_EQ(error.code, code) << error.describe();
    EXPECT_EQ(error.field, "tensor '" + tensor + "'");
    EXPECT_EQ(error.file, (folder.path() / "model.safetensors").string());
    EXPECT_NE(error.message.find(words), std::string::npos) << error.message;
  }
};

TEST_F(ModelErrors, TheUnchangedModelIsGood) {
  ASSERT_OK(load());
  for (const char* dtype : {"BF16", "F16"}) {
    for (auto& [name, tensor] : tensors) tensor = make_tensor(tensor.shape, dtype);
    ASSERT_OK(load());
  }
}

TEST_F(ModelErrors, NotANumberIsNamedWithTensorAndElement) {
  const std::string name = "model.layers.0.mlp.up_proj.weight";
  struct Case {
    const char* dtype;
    std::uint32_t bits;
  };
  for (const Case& bad : {Case{"F32", 0x7fc00000}, Case{"F32", 0xff800000}, Case{"BF16", 0x7f80}, Case{"BF16", 0xffc1},
                          Case{"F16", 0x7c00}, Case{"F16", 0xfe01}}) {
    tensors = good_tensors();
    tensors[name] = make_tensor({6, 8}, bad.dtype);
    const std::size_t size = bad.dtype == std::string("F32") ? 4 : 2;
    for (std::size_t element : {47U, 21U}) std::memcpy(tensors[name].bytes.data() + element * size, &bad.bits, size);
    expect_refused(ErrorCode::not_finite, name, "element 21 is NaN or infinite");  // the first of the two
    EXPECT_EQ(error_of(load()).offset, static_cast<std::int64_t>(21 * size));
  }
}

TEST_F(ModelErrors, LargestAndSmallestNumbersAreNumbers) {
  const std::uint32_t values[] = {0x7f7fffff, 0xff7fffff, 0x00000001, 0x80000000};
  std::memcpy(tensors["model.norm.weight"].bytes.data(), values, sizeof(values));
  EXPECT_OK(load());
}

TEST_F(ModelErrors, EveryTensorIsNeeded) {
  for (const auto& [name, tensor] : good_tensors()) {
    tensors = good_tensors();
    tensors.erase(name);
    expect_refused(ErrorCode::missing_field, name, "is not in the file");
  }
  tensors = good_tensors();
  config["tie_word_embeddings"] = false;
  expect_refused(ErrorCode::missing_field, "lm_head.weight", "is not in the file");
}

TEST_F(ModelErrors, BiasesAndNormsAreNeededWhereTheArchitectureHasThem) {
  config["attention_bias"] = true;
  expect_refused(ErrorCode::missing_field, "model.layers.0.self_attn.q_proj.bias", "is not in the file");
  config = good_config();
  config["mlp_bias"] = true;
  expect_refused(ErrorCode::missing_field, "model.layers.0.mlp.gate_proj.bias", "is not in the file");
  config = good_config();
  config["model_type"] = "qwen2";
  expect_refused(ErrorCode::missing_field, "model.layers.0.self_attn.q_proj.bias", "is not in the file");
  config["model_type"] = "qwen3";
  config["head_dim"] = 4;
  expect_refused(ErrorCode::missing_field, "model.layers.0.self_attn.q_norm.weight", "is not in the file");
}

TEST_F(ModelErrors, EveryShapeIsChecked) {
  for (const auto& [name, good] : good_tensors()) {
    std::vector<std::vector<std::int64_t>> wrong = {{}, {1}, {8, 8, 1}};
    wrong.push_back(good.shape);
    wrong.back()[0] += 1;
    if (good.shape.size() == 2 && good.shape[0] != good.shape[1]) wrong.push_back({good.shape[1], good.shape[0]});
    for (const auto& shape : wrong) {
      tensors = good_tensors();
      tensors[name] = make_tensor(shape);
      expect_refused(ErrorCode::shape_mismatch, name, "config.json asks for");
    }
  }
}

TEST_F(ModelErrors, UnexpectedTensorsAreRefused) {
  tensors["model.layers.1.input_layernorm.weight"] = make_tensor({8});
  expect_refused(ErrorCode::unsupported, "model.layers.1.input_layernorm.weight",
                 "the architecture has no such tensor");
  tensors = good_tensors();
  tensors["model.layers.0.self_attn.q_proj.bias"] = make_tensor({8});
  expect_refused(ErrorCode::unsupported, "model.layers.0.self_attn.q_proj.bias", "the architecture has no such tensor");
  // Harmless: a copy of the tied embedding, and frequencies that old files carry.
  tensors = good_tensors();
  tensors["lm_head.weight"] = make_tensor({10, 8});
  tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = make_tensor({2});
  EXPECT_OK(load());
}

TEST_F(ModelErrors, OtherDtypesAreRefused) {
  Tensor& norm = tensors["model.norm.weight"];
  norm.dtype = "F64";
  norm.bytes.append(32, '\0');
  expect_refused(ErrorCode::unsupported, "model.norm.weight", "F64");
  norm = {"I8", {8}, std::string(8, '\1')};
  expect_refused(ErrorCode::unsupported, "model.norm.weight", "I8");
}

TEST_F(ModelErrors, UnknownArchitecturesAreNamed) {
  for (const char* type : {"gpt2", "mamba", ""}) {
    config["model_type"] = type;
    const Error error = error_of(load());
    EXPECT_EQ(error.code, ErrorCode::unsupported);
    EXPECT_EQ(error.field, "model_type");
    EXPECT_EQ(error.file, (folder.path() / "config.json").string());
    EXPECT_NE(error.message.find(std::string("'") + type + "'"), std::string::npos) << error.message;
  }
}

TEST_F(ModelErrors, FilesThatAreNotThere) {
  Error error = error_of(Model<Space>::load(Space(), folder.path()));
  EXPECT_EQ(error.code, ErrorCode::file_not_found);
  EXPECT_EQ(error.file, (folder.path() / "config.json").string());
  folder.write("config.json", config.dump());
  error = error_of(Model<Space>::load(Space(), folder.path()));
  EXPECT_EQ(error.code, ErrorCode::file_not_found);
  EXPECT_EQ(error.file, (folder.path() / "model.safetensors").string());
}

TEST_F(ModelErrors, WithoutATokenizerTextIsRefused) {
  const auto model = value_of(load());
  const Error error = error_of(model->encode_document("text"));
  EXPECT_EQ(error.code, ErrorCode::file_not_found);
  EXPECT_EQ(error.file, (folder.path() / "tokenizer.json").string());
  folder.write("tokenizer.json", "{}");
  EXPECT_EQ(error_of(load()).file, (folder.path() / "tokenizer.json").string());
}

// ---- fingerprint ------------------------------------------------------------------------------------------

TEST_F(ModelErrors, TheFingerprintIsThatOfTheWeightsWhateverTheirFiles) {
  const Digest single = value_of(load())->fingerprint().weights;
  Tensors parts[2];
  json map = json::object();
  for (const auto& [name, tensor] : tensors) {
    const std::size_t part = name.size() % 2;
    parts[part][name] = tensor;
    map[name] = part == 0 ? "a.safetensors" : "b.safetensors";
  }
  std::filesystem::remove(folder.path() / "model.safetensors");
  folder.write("a.safetensors", to_file(parts[0]));
  folder.write("b.safetensors", to_file(parts[1]));
  folder.write("model.safetensors.index.json", json{{"weight_map", map}}.dump());
  const auto sharded = value_of(Model<Space>::load(Space(), folder.path()));
  EXPECT_EQ(sharded->fingerprint().weights, single);

  // One bit of one weight makes it another model.
  tensors["model.norm.weight"].bytes[0] ^= 1;
  EXPECT_NE(value_of(load())->fingerprint().weights, single);
}

}  // namespace
}  // namespace seqkv
