// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "cli/arguments.hpp"

#include <fmt/format.h>

#include "seqkv/text_file.hpp"
#include "seqkv/token_file.hpp"

namespace seqkv::cli {

CLI::Option* add_dtype(CLI::App& app, std::string& dtype, const std::string& help) {
  return app.add_option("--dtype", dtype, help)->check(CLI::IsMember({"bf16", "f16", "f32"}));
}

DType dtype_of(const std::string& name) {
  DType dtype = DType::bf16;
  parse(name, dtype);  // the option's check has seen it
  return dtype;
}

void add_profile(CLI::App& app, std::string& profile) {
  app.add_option("--profile", profile, "Profile of the model, for codecs that predict (seqkv calibrate makes one)");
}

Result<std::shared_ptr<const Profile>> load_profile(const std::string& path) {
  if (path.empty()) return std::shared_ptr<const Profile>();
  return Profile::load(path);
}

Result<void> check_profile(const Codec& codec, const std::shared_ptr<const Profile>& profile, const Digest& model) {
  if (!codec.needs_profile()) return {};
  if (profile == nullptr) {
    return Error(ErrorCode::invalid_argument,
                 fmt::format("{} needs the model's profile: --profile FILE", codec.spec()));
  }
  if (model.is_zero() || model == profile->model()) return {};
  return Error(ErrorCode::wrong_profile, fmt::format("the cache is of model {}..., the profile of {}...",
                                                     model.hex().substr(0, 16), profile->model().hex().substr(0, 16)));
}

void TokenSource::declare(CLI::App& app) {
  auto* from = app.add_option_group("input", "one of");
  from->add_option("--text", text, "Text file (plain, .xz, .zst; .jsonl: see --index)");
  from->add_option("--tokens", tokens, "Token file (.npy, .json, .jsonl, or the input_ids of .safetensors)");
  from->require_option(1);
  app.add_option("--index", index, "Which document or sequence of a .jsonl file, from 0")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--max-tokens", max_tokens, "Use only the first N tokens")->check(CLI::PositiveNumber);
}

Result<std::vector<Token>> TokenSource::read(const Model<Space>& model) const {
  std::vector<Token> out;
  const auto missing = [this](std::size_t count, const std::string& file) {
    return Error(ErrorCode::invalid_argument, fmt::format("--index {} where there are {}", index, count)).in_file(file);
  };
  const auto at = static_cast<std::size_t>(index);
  if (!text.empty()) {
    auto documents = read_documents(text);
    if (!documents) return std::move(documents).error();
    if (at >= documents->size()) return missing(documents->size(), text);
    auto encoded = model.encode_document((*documents)[at]);
    if (!encoded) return std::move(encoded).error().in_file(text);
    out = std::move(*encoded);
  } else {
    auto sequences = read_token_file(tokens);
    if (!sequences) return std::move(sequences).error();
    if (at >= sequences->size()) return missing(sequences->size(), tokens);
    out = std::move((*sequences)[at]);
  }
  if (max_tokens > 0 && static_cast<std::int64_t>(out.size()) > max_tokens)
    out.resize(static_cast<std::size_t>(max_tokens));
  return out;
}

void add_replay_model(CLI::App& app, std::string& model) {
  app.add_option("--model", model, "Model folder, which codecs of replay need; others do without");
}

Result<std::shared_ptr<const Model<Space>>> load_model_if_named(const Options& options, const std::string& folder) {
  if (folder.empty()) return std::shared_ptr<const Model<Space>>();
  return load_model(options, Space(), folder);
}

Result<std::shared_ptr<const Model<Space>>> load_model(const Options& options, const Space& space,
                                                       const std::string& folder) {
  const double start = now();
  auto model = Model<Space>::load(space, folder);
  if (model) {
    const ModelConfig& config = (*model)->config();
    say(options, fmt::format("model {}: {} with {}, loaded in {:.2f} s", folder, config.type,
                             config.kv_shape(DType::bf16).describe(), now() - start));
  }
  return model;
}

}  // namespace seqkv::cli
