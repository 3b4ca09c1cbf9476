// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "cli/trie.hpp"

#include <memory>

namespace seqkv::cli {

Action declare_trie(CLI::App& app) {
  static const std::vector<Command> list = {
      {"build", "Build a trie of token sequences, or add sequences to one", declare_trie_build},
      {"remove", "Take sessions out of a trie", declare_trie_remove},
      {"match", "Find the longest prefix of each sequence that is stored", declare_trie_match},
      {"stats", "Show what a trie holds and what it costs", declare_trie_stats},
      {"probability", "Show the probability of each sequence in bits", declare_trie_probability},
      {"distance", "Show what sequences share and how far apart they are", declare_trie_distance},
  };
  app.require_subcommand(1);
  app.footer(
      "A trie of whole sessions knows what is stored already; a trie of windows (build --windows) counts n-grams,\n"
      "which predict tokens. Sequences come from token files: see seqkv tokenize.\n"
      "Example:\n"
      "  seqkv tokenize --model models/docs-7m --text notes.jsonl --out notes-tokens.jsonl\n"
      "  seqkv trie build --tokens notes-tokens.jsonl --out notes.trie\n"
      "  seqkv trie match --trie notes.trie --tokens notes-tokens.jsonl");
  auto chosen = std::make_shared<Action>();
  for (const Command& command : list) {
    CLI::App* sub = app.add_subcommand(command.name, command.summary);
    sub->callback([chosen, declared = command.declare(*sub)]() { *chosen = declared; });
  }
  return [chosen](const Options& options) { return (*chosen)(options); };
}

}  // namespace seqkv::cli
