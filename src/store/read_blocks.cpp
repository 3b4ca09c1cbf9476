// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Blocks of a session read and checked by several threads, each ahead of the disk.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <new>
#include <thread>

#include "core/try.hpp"
#include "io/file.hpp"
#include "seqkv/cores.hpp"
#include "store/store_state.hpp"

namespace seqkv {
namespace {

/// A block in its mapped pack, and what came of checking it.
struct Job {
  const BlockRow* row = nullptr;
  std::int64_t number = 0;  ///< in its session
  Digest parent;
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> memory;
  std::optional<Result<StoredBlock>> block;
};

/// Threads that are worth their start.
std::size_t threads_for(const std::vector<Job>& jobs) {
  constexpr std::size_t bytes_a_thread = 4 << 20;
  std::size_t bytes = 0;
  for (const Job& job : jobs) bytes += job.bytes.size();
  const auto cores = static_cast<std::size_t>(std::max(available_cores(), 1));
  return std::clamp<std::size_t>(bytes / bytes_a_thread, 1, std::min(cores, std::max<std::size_t>(jobs.size(), 1)));
}

void check_all(const Store::State& state, std::vector<Job>& jobs) {
  const std::size_t threads = threads_for(jobs);
  std::atomic<std::size_t> next{0};
  const auto work = [&]() noexcept {
    for (std::size_t i = next++; i < jobs.size(); i = next++) {
      if (i + 2 * threads < jobs.size()) io::prefetch(jobs[i + 2 * threads].bytes);
      if (jobs[i].bytes.empty()) continue;
      try {
        jobs[i].block = state.check(*jobs[i].row, jobs[i].bytes);
      } catch (const std::bad_alloc&) {
        return;  // who asked for it meets it again, alone
      }
    }
  };
  std::vector<std::jthread> others;
  for (std::size_t t = 1; t < threads; ++t) others.emplace_back(work);
  work();
}

}  // namespace

Result<StoredBlocks> Store::State::read_blocks(const SessionBlocks& session, std::int64_t first,
                                               std::int64_t tokens) const {
  std::vector<Job> jobs;
  Digest parent = root_of(session.session.head);
  for (std::size_t i = 0; i < session.blocks.size(); ++i) {
    const BlockRow& row = session.blocks[i];
    const Digest before = std::exchange(parent, row.identity);
    if (row.position + row.tokens <= first || row.position >= first + tokens) continue;
    Job job{&row, static_cast<std::int64_t>(i), before, {}, {}, {}};
    if (const auto bytes = record_at(row.place)) {  // if not, see below
      job.bytes = *bytes;
      job.memory = packs.at(row.place.pack);
    }
    jobs.push_back(std::move(job));
  }
  check_all(*this, jobs);
  StoredBlocks blocks;
  for (Job& job : jobs) {
    // What failed is read once more: gc may have moved it.
    if (!job.block || !*job.block) job.block = read(*job.row);
    Result<StoredBlock>& block = *job.block;
    if (block && block->head.parent != job.parent) {
      block = Error(ErrorCode::corrupt, "the block does not continue the one before it");
    }
    if (!block) {
      return std::move(block)
          .error()
          .in_block(job.number)
          .at_field(fmt::format("session '{}'", session.session.head.name));
    }
    if (block->memory == nullptr) block->memory = std::move(job.memory);
    blocks.append(block->block, job.row->position, block->info.tokens, std::move(block->memory));
    if (auto status = add_references(*job.row, block->info, blocks); !status) {
      return std::move(status)
          .error()
          .in_block(job.number)
          .at_field(fmt::format("session '{}'", session.session.head.name));
    }
  }
  return blocks;
}

}  // namespace seqkv
