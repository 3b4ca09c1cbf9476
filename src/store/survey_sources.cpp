// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <fmt/format.h>

#include <utility>

#include "store/survey.hpp"

namespace seqkv::store {
namespace {

/// Why a block, which is good in itself, cannot be had for what it needs; nothing if it can.
std::string missing_for(const Survey& survey, const Survey::Block& block) {
  const auto find = [&survey](std::int64_t id) {
    const auto found = survey.blocks.find(id);
    return found != survey.blocks.end() && found->second.good ? &found->second : nullptr;
  };
  if (block.row.parent && find(*block.row.parent) == nullptr) return "the block before it is missing or broken";
  std::set<std::uint64_t> there;
  for (const std::int64_t id : block.sources) {
    const Survey::Block* source = find(id);
    if (source == nullptr) return fmt::format("predicted from block {}, which is missing or broken", id);
    if (!source->names.empty()) return fmt::format("predicted from block {}, which is predicted itself", id);
    there.insert(source->hash);
  }
  for (const std::uint64_t hash : block.names) {
    if (!there.contains(hash)) {
      return fmt::format("predicted from a block that is not there, of the hash {:016x}", hash);
    }
  }
  return {};
}

}  // namespace

/// What blocks are predicted from may stand anywhere: until nothing more falls.
void check_sources(const std::vector<SourceRow>& sources, Survey& survey) {
  for (const SourceRow& row : sources) {
    const auto block = survey.blocks.find(row.block);
    if (block != survey.blocks.end()) block->second.sources.push_back(row.source);
  }
  for (bool changed = true; std::exchange(changed, false);) {
    for (const std::int64_t id : survey.order) {
      Survey::Block& block = survey.blocks.at(id);
      if (!block.good || (!block.row.parent && block.names.empty() && block.sources.empty())) continue;
      const std::string why = missing_for(survey, block);
      if (why.empty()) continue;
      block.good = false;
      changed = true;
      survey.problems.push_back(fmt::format("block {}: {}", id, why));
    }
  }
}

}  // namespace seqkv::store
