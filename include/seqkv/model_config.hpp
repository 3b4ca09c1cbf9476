// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// What config.json of a Hugging Face folder says, for the Llama family: Llama, Mistral, Qwen2, Qwen3.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "seqkv/hash.hpp"
#include "seqkv/kv.hpp"

namespace seqkv {

struct ModelConfig {
  std::string type;  ///< model_type: "llama", "mistral", "qwen2", "qwen3"
  std::int64_t hidden = 0;
  std::int64_t intermediate = 0;
  std::int64_t layers = 0;
  std::int64_t query_heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t vocabulary = 0;
  std::int64_t max_positions = 0;
  double norm_epsilon = 1e-6;
  bool tied_embeddings = false;
  bool qkv_bias = false;
  bool output_bias = false;
  bool mlp_bias = false;
  bool qk_norm = false;
  RopeConfig rope;
  std::vector<std::int64_t> window;  ///< by layer: how many last tokens a query sees, itself included; 0: all
  std::optional<Token> bos;

  /// Errors: file_not_found, bad_format, missing_field, unsupported (by name), limit_exceeded.
  static Result<ModelConfig> load(const std::filesystem::path& config_json);
  static Result<ModelConfig> parse(std::string_view json);

  KvShape kv_shape(DType dtype) const { return {layers, kv_heads, head_dim, rope, dtype}; }
  /// SHA-256 over the fields above that change results (bos and max_positions do not).
  Digest fingerprint() const;
};

}  // namespace seqkv
