// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The parameters of a store, in its index.
#pragma once

#include <filesystem>

#include "seqkv/store.hpp"
#include "store/sqlite.hpp"

namespace seqkv::store {

/// Errors: invalid_argument, limit_exceeded.
Result<void> check_parameters(const StoreParameters& parameters);

Result<void> write_parameters(Database& database, const StoreParameters& parameters, const Digest& id);

/// Errors: unsupported_version, corrupt.
Result<void> read_parameters(const Database& database, StoreParameters& parameters, Digest& id);

/// Errors: wrong_model, wrong_store, each naming what differs.
Result<void> compare_parameters(const StoreParameters& stored, const StoreParameters& given,
                                const std::filesystem::path& index);

}  // namespace seqkv::store
