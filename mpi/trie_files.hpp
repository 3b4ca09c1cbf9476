// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Sharded tries in a folder.
#pragma once

#include <filesystem>
#include <vector>

#include "seqkv/mpi.hpp"
#include "seqkv/trie.hpp"

namespace seqkv::mpi {

/// Collective. What was saved in the folder before stays whole until all of this is there.
Result<void> save_shard(const Communicator& communicator, const Trie& local, const std::filesystem::path& folder);

/// Collective. This rank's share of the files, whatever number of ranks wrote them.
Result<std::vector<Trie>> load_shards(const Communicator& communicator, const std::filesystem::path& folder);

}  // namespace seqkv::mpi
