// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// `seqkv trie WHAT`: one function for each WHAT, declared as commands are.
#pragma once

#include "cli/command.hpp"

namespace seqkv::cli {

Action declare_trie_build(CLI::App& app);
Action declare_trie_remove(CLI::App& app);
Action declare_trie_match(CLI::App& app);
Action declare_trie_stats(CLI::App& app);
Action declare_trie_probability(CLI::App& app);
Action declare_trie_distance(CLI::App& app);

/// 2^-16 bit as bits.
inline double as_bits(std::uint64_t information) { return static_cast<double>(information) / 65536.0; }

}  // namespace seqkv::cli
