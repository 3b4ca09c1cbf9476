// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The parameters of a store, in its index.
#pragma once

#include <filesystem>
#include <string>

#include "seqkv/store.hpp"
#include "store/seal.hpp"
#include "store/sqlite.hpp"

namespace seqkv::store {

/// Errors: invalid_argument, limit_exceeded.
Result<void> check_parameters(const StoreParameters& parameters);

/// All of them as lines "name=value", by name; what the signature of a store is made of.
std::string to_text(const StoreParameters& parameters, const Digest& id);
/// Errors: unsupported_version, corrupt.
Result<void> parse_text(const std::string& text, StoreParameters& parameters, Digest& id);

/// The text with its signature: what packs and index hold.
std::string signed_text(const std::string& text, const Seal& seal);
/// Whether a text has the signature at its end. Errors: corrupt, checksum_mismatch (no protection), wrong_key (another
/// key signed it, or somebody without one).
Result<void> check_signature(const std::string& text, const Seal& seal);

Result<void> write_parameters(Database& database, const std::string& text);
Result<std::string> read_parameters(const Database& database);

/// Errors: wrong_model, wrong_store, each naming what differs.
Result<void> compare_parameters(const StoreParameters& stored, const StoreParameters& given,
                                const std::filesystem::path& index);

/// The text that the first pack with a whole header and parameters carries. Errors: corrupt
/// (src/store/find_parameters.cpp).
Result<std::string> find_parameters(const std::filesystem::path& folder, const std::vector<std::int64_t>& packs);

}  // namespace seqkv::store
