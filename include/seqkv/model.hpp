// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Models of the Llama family from Hugging Face folders, their weights packed for the forward pass.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>

#include "seqkv/hash.hpp"
#include "seqkv/model_config.hpp"
#include "seqkv/tokenizer.hpp"

namespace seqkv {

/// What a model is, as SHA-256 of its parts. `tokenizer` is zero where the folder has none.
struct ModelFingerprint {
  Digest config;
  Digest tokenizer;
  Digest weights;  ///< names, dtypes, shapes and bytes of all tensors, whatever the shards

  /// One digest for all three: the identity that frames, stores and KV files carry.
  Digest combined() const;
};

/// Weights in the memory of an execution space; immutable, shared by Forward objects.
/// Instantiated for every execution space of the build.
template <class ExecutionSpace>
class Model {
 public:
  /// Reads config.json, model.safetensors (or its shards) and, where there is one, tokenizer.json.
  /// Errors: those of the readers; missing_field, shape_mismatch, unsupported (an unexpected tensor or dtype),
  /// not_finite (the tensor and element).
  static Result<std::shared_ptr<const Model>> load(const ExecutionSpace& space, const std::filesystem::path& folder);

  const ModelConfig& config() const noexcept { return config_; }
  const ModelFingerprint& fingerprint() const noexcept { return fingerprint_; }
  /// Errors: file_not_found if the folder has no tokenizer.json.
  Result<const Tokenizer*> tokenizer() const;
  /// [bos] + the text's tokens: what a document begins with (DESIGN 7). bos is left out where the model has
  /// none or the tokenizer's own template has put it there.
  Result<std::vector<Token>> encode_document(std::string_view text) const;
  std::int64_t weight_bytes() const noexcept;

  /// The packed weights, for the forward pass only.
  struct Weights;
  const Weights& weights() const noexcept { return *weights_; }

  Model(Model&&) noexcept;
  ~Model();

 private:
  Model();
  ModelConfig config_;
  ModelFingerprint fingerprint_;
  std::filesystem::path folder_;
  std::optional<Tokenizer> tokenizer_;
  std::unique_ptr<Weights> weights_;
};

}  // namespace seqkv
