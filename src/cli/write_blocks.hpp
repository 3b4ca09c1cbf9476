// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Decoding blocks into a KV file, some at a time: what decompress and restore share.
#pragma once

#include <filesystem>
#include <span>
#include <vector>

#include "cli/command.hpp"
#include "seqkv/codec.hpp"
#include "seqkv/hash.hpp"

namespace seqkv::cli {

/// A coded cache, wherever its blocks lie.
struct CodedCache {
  KvShape shape;
  std::string codec;
  Digest model;
  std::int64_t block_tokens = 256;
  std::span<const CodedBlockView> blocks;
  std::vector<Token> tokens;
};

/// The file appears when every checksum has held, or not at all. Memory: that of a few blocks.
Result<void> write_blocks(const Options& options, const CodedCache& cache, DType dtype,
                          const std::filesystem::path& out);

}  // namespace seqkv::cli
