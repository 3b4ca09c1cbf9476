// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "cli/trie.hpp"
#include "seqkv/token_coder.hpp"
#include "seqkv/token_file.hpp"
#include "seqkv/trie.hpp"
#include "seqkv/trie_distance.hpp"
#include "seqkv/trie_match.hpp"

namespace seqkv::cli {
namespace {

using Sequences = std::vector<std::vector<Token>>;

struct Query {
  std::string trie;
  std::string tokens;
  std::string other;
  std::int64_t block = 1;
};

const char* name_of(TrieKind kind) { return kind == TrieKind::windows ? "windows" : "sessions"; }

struct Input {
  Trie trie;
  Sequences sequences;
};

Result<Input> read(const Query& arguments) {
  auto trie = Trie::open(arguments.trie);
  if (!trie) return std::move(trie).error();
  auto sequences = read_token_file(arguments.tokens);
  if (!sequences) return std::move(sequences).error();
  return Input{std::move(*trie), std::move(*sequences)};
}

/// The information of a prefix that the trie has.
Result<std::uint64_t> information_of(const Trie& trie, const TrieCursor& place, TokenSpan tokens) {
  if (trie.shape().surprisals) return place.surprisal;
  auto information = prefix_information(trie, tokens.first(place.depth));
  if (!information) return std::move(information).error();
  return information->back();
}

Result<int> match_all(const Query& arguments, const Options& options) {
  const Space space;
  auto input = read(arguments);
  if (!input) return std::move(input).error();
  const Trie& trie = input->trie;
  auto device = DeviceTrie<Space>::create(space, trie);
  if (!device) return std::move(device).error();
  const std::vector<TokenSpan> queries(input->sequences.begin(), input->sequences.end());
  std::vector<TrieCursor> places(queries.size());
  const double start = now();
  if (auto matched = match(space, *device, queries, places, arguments.block); !matched) {
    return std::move(matched).error();
  }
  const double seconds = now() - start;
  const bool sessions = trie.shape().kind == TrieKind::sessions;
  std::vector<Report> rows;
  std::uint64_t tokens = 0;
  std::uint64_t found = 0;
  for (std::size_t i = 0; i < queries.size(); ++i) {
    const TrieCursor& place = places[i];
    auto shared = information_of(trie, place, queries[i]);
    if (!shared) return std::move(shared).error();
    rows.push_back({{"sequence", i},
                    {"tokens", queries[i].size()},
                    {"prefix_tokens", place.depth},
                    {"shared_bits", as_bits(*shared)},
                    {sessions ? "sessions" : "count", trie.view().count(place.node)}});
    const bool any = sessions && trie.shape().total > 0 && place.depth > 0;
    rows.back().set("session", any ? Value(trie.view().session[place.rank]) : Value(nullptr));
    tokens += queries[i].size();
    found += place.depth;
  }
  print(options, {{"sequences", queries.size()},
                  {"tokens", tokens},
                  {"prefix_tokens", found},
                  {"seconds", seconds},
                  {"rows", rows}});
  return 0;
}

Result<int> stats(const std::string& path, const Options& options) {
  auto trie = Trie::open(path);
  if (!trie) return std::move(trie).error();
  const TrieShape& shape = trie->shape();
  const TrieView& view = trie->view();
  std::uint64_t leaves = 0;
  std::uint64_t tokens = 0;  // of all sequences
  std::uint64_t levels = 0;
  for (std::uint64_t node = 0; node < shape.nodes; ++node) {
    leaves += view.children(node) == 0 ? 1 : 0;
    tokens += view.count(node) * view.edge_tokens(node);
  }
  for (std::uint64_t last = 0; last + 1 < shape.nodes; ++levels) last = view.child[last + 1] - 1;
  const std::uint64_t stored = shape.nodes - 1 + shape.label_tokens;
  const auto bytes = static_cast<double>(trie->image().size());
  print(options,
        {{"kind", name_of(shape.kind)},
         {"depth_limit", shape.kind == TrieKind::windows ? Value(shape.depth_limit) : Value(nullptr)},
         {"sequences", shape.total},
         {"tokens", tokens},
         {"stored_tokens", stored},
         {"nodes", shape.nodes},
         {"leaves", leaves},
         {"levels", levels},
         {"largest_token", shape.largest_token},
         {"surprisals", shape.surprisals},
         {"weights", shape.weights > 0},
         {"bytes", trie->image().size()},
         {"bytes_per_node", bytes / static_cast<double>(shape.nodes)},
         {"bytes_per_stored_token", stored == 0 ? Value(nullptr) : Value(bytes / static_cast<double>(stored))}});
  return 0;
}

/// The bits of each sequence by a trie.
class Language {
 public:
  explicit Language(const Trie& trie) : trie_(trie) {}

  const char* source() const {
    if (trie_.shape().kind == TrieKind::windows) return "counts of windows";
    return trie_.shape().surprisals ? "recorded surprisals" : "counts of sessions";
  }
  /// -log2 P of the first i tokens, i = 0 .. tokens.size(), in 2^-16 bit.
  Result<std::vector<std::uint64_t>> information(TokenSpan tokens) {
    if (trie_.shape().kind == TrieKind::sessions) return prefix_information(trie_, tokens);
    if (!coder_) {
      auto coder = TokenCoder::create(trie_);
      if (!coder) return std::move(coder).error();
      coder_ = std::move(*coder);
    }
    auto surprisals = coder_->surprisals(tokens);
    if (!surprisals) return std::move(surprisals).error();
    std::vector<std::uint64_t> sums(tokens.size() + 1);
    for (std::size_t i = 0; i < tokens.size(); ++i) sums[i + 1] = sums[i] + (*surprisals)[i];
    return sums;
  }

 private:
  Trie trie_;
  std::optional<TokenCoder> coder_;
};

Result<int> probability(const Query& arguments, const Options& options) {
  auto input = read(arguments);
  if (!input) return std::move(input).error();
  Language language(input->trie);
  std::vector<Report> rows;
  std::uint64_t all = 0;
  std::uint64_t tokens = 0;
  for (std::size_t i = 0; i < input->sequences.size(); ++i) {
    const auto& sequence = input->sequences[i];
    auto information = language.information(sequence);
    if (!information) {
      return std::move(information).error().at_field(fmt::format("sequence {}", i)).in_file(arguments.tokens);
    }
    const double bits = as_bits(information->back());
    rows.push_back({{"sequence", i},
                    {"tokens", sequence.size()},
                    {"bits", bits},
                    {"bits_per_token", bits / static_cast<double>(sequence.size())}});
    all += information->back();
    tokens += sequence.size();
  }
  print(options, {{"source", language.source()},
                  {"tokens", tokens},
                  {"bits_per_token", as_bits(all) / static_cast<double>(tokens)},
                  {"rows", rows}});
  return 0;
}

Result<std::vector<std::vector<std::uint64_t>>> information_of_all(Language& language, const Sequences& sequences,
                                                                   const std::string& file) {
  std::vector<std::vector<std::uint64_t>> all;
  for (const auto& tokens : sequences) {
    auto information = language.information(tokens);
    if (!information) {
      return std::move(information).error().at_field(fmt::format("sequence {}", all.size())).in_file(file);
    }
    all.push_back(std::move(*information));
  }
  return all;
}

Result<int> distance(const Query& arguments, const Options& options) {
  auto input = read(arguments);
  if (!input) return std::move(input).error();
  const bool among_themselves = arguments.other.empty();
  Sequences others;
  if (!among_themselves) {
    auto read = read_token_file(arguments.other);
    if (!read) return std::move(read).error();
    others = std::move(*read);
  }
  Language language(input->trie);
  auto a = information_of_all(language, input->sequences, arguments.tokens);
  if (!a) return std::move(a).error();
  auto b = information_of_all(language, others, arguments.other);
  if (!b) return std::move(b).error();
  const Sequences& right = among_themselves ? input->sequences : others;
  std::vector<Report> rows;
  for (std::size_t i = 0; i < input->sequences.size(); ++i) {
    for (std::size_t j = among_themselves ? i + 1 : 0; j < right.size(); ++j) {
      const SequenceDistance d =
          sequence_distance(input->sequences[i], (*a)[i], right[j], among_themselves ? (*a)[j] : (*b)[j]);
      rows.push_back({{"a", i},
                      {"b", j},
                      {"common_tokens", d.common_tokens},
                      {"shared_bits", as_bits(d.shared)},
                      {"path_bits", as_bits(d.path_length)},
                      {"ultrametric", d.ultrametric}});
    }
  }
  print(options, {{"source", language.source()}, {"rows", rows}});
  return 0;
}

std::shared_ptr<Query> declare_query(CLI::App& app) {
  auto arguments = std::make_shared<Query>();
  app.add_option("--trie", arguments->trie, "Trie file")->required();
  app.add_option("--tokens", arguments->tokens, "Token file with the sequences")->required();
  return arguments;
}

}  // namespace

Action declare_trie_match(CLI::App& app) {
  auto arguments = declare_query(app);
  app.add_option("--block", arguments->block, "Count whole blocks of N tokens only (default 1)")
      ->check(CLI::PositiveNumber);
  app.footer(
      "shared_bits: what the prefix tells, -log2 of its probability. session: the first that begins with it.\n"
      "Example:\n  seqkv trie match --trie sessions.trie --tokens new.jsonl --block 256");
  return [arguments](const Options& options) { return match_all(*arguments, options); };
}

Action declare_trie_stats(CLI::App& app) {
  auto trie = std::make_shared<std::string>();
  app.add_option("--trie", *trie, "Trie file")->required();
  app.footer(
      "tokens: of all sequences; stored_tokens: each shared prefix once.\n"
      "Example:\n  seqkv trie stats --trie sessions.trie");
  return [trie](const Options& options) { return stats(*trie, options); };
}

Action declare_trie_probability(CLI::App& app) {
  auto arguments = declare_query(app);
  app.footer(
      "By recorded surprisals if the trie has them (the sequences must be in it), else by its counts: of windows as\n"
      "a language model of n-grams.\n"
      "Example:\n  seqkv trie probability --trie sessions.trie --tokens sessions.jsonl");
  return [arguments](const Options& options) { return probability(*arguments, options); };
}

Action declare_trie_distance(CLI::App& app) {
  auto arguments = declare_query(app);
  app.add_option("--other", arguments->other, "Compare with the sequences of this file (default: among themselves)");
  app.footer(
      "path_bits is a metric: what it costs to code both sequences behind their common prefix.\n"
      "ultrametric is the probability of the common prefix, 0 of equal sequences.\n"
      "Example:\n  seqkv trie distance --trie sessions.trie --tokens sessions.jsonl");
  return [arguments](const Options& options) { return distance(*arguments, options); };
}

}  // namespace seqkv::cli
