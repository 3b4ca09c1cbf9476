// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// What compress, decompress and restore share: how they use cores and memory, and say so.
#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <string>

#include "cli/command.hpp"
#include "seqkv/model.hpp"
#include "seqkv/transfer.hpp"

namespace seqkv::cli {

/// --memory SIZE: bytes, or with a unit as in 256M and 2G.
void add_memory(CLI::App& app, std::uint64_t& memory);

/// On all threads, within `memory` (0: the default), shown by `progress`, ended by the first signal.
TransferOptions transfer_options(const Options& options, std::uint64_t memory, Progress& progress);

/// What a transfer took, for its command's result; `seconds` are those of the whole, with the commit.
void add_figures(Report& report, const TransferReport& transfer, std::int64_t components, double seconds);

/// Decodes blocks into a KV file that appears when every checksum has held, or not at all.
Result<TransferReport> write_kv_file(const Options& options, const BlockSource& source, DType dtype,
                                     std::uint64_t memory, const std::filesystem::path& out,
                                     const std::shared_ptr<const Profile>& profile,
                                     const std::shared_ptr<const Model<Space>>& model);

}  // namespace seqkv::cli
