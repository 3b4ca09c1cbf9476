// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "rma.hpp"

#include <mpi.h>

#include <algorithm>
#include <array>
#include <bit>
#include <vector>

namespace seqkv::bench {
namespace {

/// Eight keys of one hash, one after the other. What does not fit is left out: the peer is not made slower by chains.
using Bucket = std::array<std::uint64_t, 8>;

}  // namespace

double rma_lookups(std::span<const std::uint64_t> keys, std::span<const std::uint64_t> queries, std::int64_t& found) {
  int ranks = 1;
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  unsigned long long most = keys.size();
  MPI_Allreduce(MPI_IN_PLACE, &most, 1, MPI_UNSIGNED_LONG_LONG, MPI_MAX, MPI_COMM_WORLD);
  const std::uint64_t buckets = std::bit_ceil(most / 2 + 1);
  const auto owner_of = [ranks](std::uint64_t key) { return static_cast<int>(key % static_cast<unsigned>(ranks)); };
  const auto bucket_of = [buckets](std::uint64_t key) { return (key * 0x9e3779b97f4a7c15ULL >> 20U) & (buckets - 1); };

  // Keys go to their owners first.
  std::vector<std::vector<std::uint64_t>> parts(static_cast<std::size_t>(ranks));
  for (const std::uint64_t key : keys) parts[static_cast<std::size_t>(owner_of(key))].push_back(key);
  std::vector<int> sizes;
  std::vector<int> offsets;
  std::vector<std::uint64_t> out;
  for (const auto& part : parts) {
    offsets.push_back(static_cast<int>(out.size()));
    sizes.push_back(static_cast<int>(part.size()));
    out.insert(out.end(), part.begin(), part.end());
  }
  std::vector<int> in_sizes(parts.size());
  MPI_Alltoall(sizes.data(), 1, MPI_INT, in_sizes.data(), 1, MPI_INT, MPI_COMM_WORLD);
  std::vector<int> in_offsets;
  int all = 0;
  for (const int size : in_sizes) {
    in_offsets.push_back(all);
    all += size;
  }
  std::vector<std::uint64_t> mine(static_cast<std::size_t>(all));
  MPI_Alltoallv(out.data(), sizes.data(), offsets.data(), MPI_UINT64_T, mine.data(), in_sizes.data(), in_offsets.data(),
                MPI_UINT64_T, MPI_COMM_WORLD);

  Bucket* table = nullptr;
  MPI_Win window = MPI_WIN_NULL;
  MPI_Win_allocate(static_cast<MPI_Aint>(buckets * sizeof(Bucket)), 1, MPI_INFO_NULL, MPI_COMM_WORLD, &table, &window);
  std::fill(table, table + buckets, Bucket{});
  for (const std::uint64_t key : mine) {
    Bucket& bucket = table[bucket_of(key)];
    const auto free = std::ranges::find(bucket, 0U);
    if (free != bucket.end()) *free = key;
  }
  MPI_Barrier(MPI_COMM_WORLD);
  MPI_Win_lock_all(MPI_MODE_NOCHECK, window);
  found = 0;
  const double start = MPI_Wtime();
  for (const std::uint64_t key : queries) {
    Bucket bucket;
    const int owner = owner_of(key);
    MPI_Get(bucket.data(), sizeof(bucket), MPI_BYTE, owner, static_cast<MPI_Aint>(bucket_of(key) * sizeof(Bucket)),
            sizeof(bucket), MPI_BYTE, window);
    MPI_Win_flush(owner, window);
    found += std::ranges::find(bucket, key) != bucket.end() ? 1 : 0;
  }
  const double seconds = MPI_Wtime() - start;
  MPI_Win_unlock_all(window);
  MPI_Win_free(&window);
  return seconds;
}

}  // namespace seqkv::bench
