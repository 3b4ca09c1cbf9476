// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Options that several commands have in common, and what they read.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "cli/command.hpp"
#include "seqkv/codec.hpp"
#include "seqkv/model.hpp"
#include "seqkv/profile.hpp"

namespace seqkv::cli {

/// --dtype f32|f16|bf16
CLI::Option* add_dtype(CLI::App& app, std::string& dtype, const std::string& help);
DType dtype_of(const std::string& name);

/// --codec, repeated or not; the strings are parsed by the command.
inline constexpr const char* codec_help =
    "Codec string: raw, none+lossless, none+turboquant:BITS[,keys=unrotated] (1 to 5); with --profile also "
    "linear+lossless, linear+ecsq:kl=NATS, linear+ecsq:bits=BITS, linear+ecsq:step=STEP, linear+turboquant:BITS; with "
    "--model also replay, replay+lossless:engine=eager|sdpa|none";

/// --profile FILE
void add_profile(CLI::App& app, std::string& profile);
/// Null where none is named.
Result<std::shared_ptr<const Profile>> load_profile(const std::string& path);
/// Whether the codec has the profile that it needs, made for `model` if that is known.
/// Errors: invalid_argument, wrong_profile.
Result<void> check_profile(const Codec& codec, const std::shared_ptr<const Profile>& profile, const Digest& model);

/// The tokens that --text or --tokens name.
struct TokenSource {
  std::string text;    ///< a text file; of .jsonl, document `index`
  std::string tokens;  ///< a token file; of .jsonl, sequence `index`
  std::int64_t index = 0;
  std::int64_t max_tokens = 0;  ///< 0: all

  void declare(CLI::App& app);
  Result<std::vector<Token>> read(const Model<Space>& model) const;
};

/// --model, of commands that need it for the codecs of replay alone.
void add_replay_model(CLI::App& app, std::string& model);
/// The same where a folder is named, else null.
Result<std::shared_ptr<const Model<Space>>> load_model_if_named(const Options& options, const std::string& folder);

/// Loads a model and says so.
Result<std::shared_ptr<const Model<Space>>> load_model(const Options& options, const Space& space,
                                                       const std::string& folder);

}  // namespace seqkv::cli
