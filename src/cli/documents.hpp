// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Documents on which codecs are measured.
#pragma once

#include <string>
#include <vector>

#include "cli/arguments.hpp"

namespace seqkv::cli {

struct Documents {
  std::string text;
  std::int64_t count = 24;
  std::int64_t context = 768;
  std::int64_t continuation = 128;

  /// --text, --docs, --context, --continue, with what stands above as defaults.
  void declare(CLI::App& app);
  /// The first that are long enough, cut; says so where there are fewer than asked for. Errors: empty_input, those of
  /// read_documents and Model::encode_document.
  Result<std::vector<std::vector<Token>>> read(const Options& options, const Model<Space>& model) const;
};

}  // namespace seqkv::cli
