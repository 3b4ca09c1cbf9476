// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The peer of batched lookups: one-sided gets, one a query.
#pragma once

#include <cstdint>
#include <span>

namespace seqkv::bench {

/// Collective. A table of `keys` (this rank's) over the memory of all ranks, by hash; then one MPI_Get and one flush
/// for each of the queries. Seconds that the queries of this rank took; `found` of them were there.
double rma_lookups(std::span<const std::uint64_t> keys, std::span<const std::uint64_t> queries, std::int64_t& found);

}  // namespace seqkv::bench
