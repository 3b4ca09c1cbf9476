// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Reports of ranks on their way to rank 0.
#pragma once

#include <utility>
#include <vector>

#include "seqkv/mpi_batch.hpp"

namespace seqkv::mpi {

/// Rows with their places in the manifest.
using PlacedRows = std::vector<std::pair<std::size_t, BatchRow>>;

std::vector<std::byte> to_bytes(const RankReport& report, const PlacedRows& rows);
/// All ranks' reports and rows, the rows in the order of the manifest. Errors: internal.
Result<void> read_reports(const RankBytes& all, BatchReport& report);

}  // namespace seqkv::mpi
