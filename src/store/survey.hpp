// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Every byte of a store looked at once: what verify reports and repair acts upon.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "store/store_state.hpp"

namespace seqkv::store {

struct PackRow {
  std::int64_t number = 0;
  std::int64_t bytes = 0;
};

struct SourceRow {
  std::int64_t block = 0;
  std::int64_t source = 0;
};

struct Survey {
  struct Block {
    BlockRow row;
    bool good = false;  ///< itself, all before it, and what it is predicted from
    std::uint64_t hash = 0;
    std::vector<std::uint64_t> names;   ///< hashes of what it is predicted from
    std::vector<std::int64_t> sources;  ///< ids of these, by the index
  };
  struct Session {
    SessionRow row;
    bool record_good = false;    ///< it lies where the index says, and says the same
    bool differs = false;        ///< it is a whole record that says other things
    bool profile_good = false;   ///< there, or not needed
    std::int64_t last_good = 0;  ///< id of the last block with which all before it are good; 0: none
    std::int64_t good_tokens = 0;
    std::string why;  ///< what is wrong with it

    bool restores() const { return profile_good && !differs && good_tokens == row.head.tokens; }
  };

  std::vector<std::string> problems;
  std::vector<std::int64_t> order;  ///< ids of blocks, parents before children
  std::unordered_map<std::int64_t, Block> blocks;
  std::vector<Session> sessions;  ///< by name
  std::vector<PackRow> packs;
  std::set<std::int64_t> damaged_packs;
  std::int64_t bytes = 0;  ///< of the records of blocks
};

/// Takes the good from blocks that need what is broken, missing or predicted itself (src/store/survey_sources.cpp).
void check_sources(const std::vector<SourceRow>& sources, Survey& survey);

/// Errors: corrupt (the index cannot be read), io, busy.
Result<Survey> survey(const Store::State& state, const std::function<void(std::int64_t, std::int64_t)>& progress);

}  // namespace seqkv::store
