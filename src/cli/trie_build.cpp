// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "cli/arguments.hpp"
#include "cli/trie.hpp"
#include "seqkv/surprisal.hpp"
#include "seqkv/token_coder.hpp"
#include "seqkv/token_file.hpp"
#include "seqkv/trie.hpp"

namespace seqkv::cli {
namespace {

using Sequences = std::vector<std::vector<Token>>;
using Surprisals = std::vector<std::vector<std::uint32_t>>;

struct Build {
  std::vector<std::string> tokens;
  std::string out;
  std::string add;
  std::string model;
  int windows = 0;
  bool no_weights = false;
  std::optional<std::uint64_t> first_id;
};

Result<Sequences> read_all(const std::vector<std::string>& files) {
  Sequences all;
  for (const std::string& file : files) {
    auto sequences = read_token_file(file);
    if (!sequences) return std::move(sequences).error();
    std::ranges::move(*sequences, std::back_inserter(all));
  }
  return all;
}

/// Of every sequence, by a model.
Result<Surprisals> record(const Build& arguments, const Space& space, const Sequences& sequences,
                          const Options& options) {
  auto model = load_model(options, space, arguments.model);
  if (!model) return std::move(model).error();
  auto forward = Forward<Space>::create(space, *model);
  if (!forward) return std::move(forward).error();
  Surprisals all;
  Progress progress(options, "surprisals");
  for (const auto& tokens : sequences) {
    auto surprisals = token_surprisals(space, *forward, tokens);
    if (!surprisals) return std::move(surprisals).error().at_field(fmt::format("sequence {}", all.size()));
    all.push_back(std::move(*surprisals));
    progress.update(std::ssize(all), std::ssize(sequences));
  }
  return all;
}

/// One above the largest id in a trie.
std::uint64_t next_id(const Trie& trie) {
  const std::span ids(trie.view().session, trie.shape().total);
  return ids.empty() ? 0 : std::ranges::max(ids) + 1;
}

Result<Trie> build_sessions(const Build& arguments, const Space& space, const Sequences& sequences,
                            std::uint64_t first_id, const Options& options) {
  Surprisals surprisals;
  if (!arguments.model.empty()) {
    auto recorded = record(arguments, space, sequences, options);
    if (!recorded) return std::move(recorded).error();
    surprisals = std::move(*recorded);
  }
  std::vector<TrieSession> sessions;
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    sessions.push_back({sequences[i], first_id + i, {}});
    if (!surprisals.empty()) sessions.back().surprisals = surprisals[i];
  }
  return build_session_trie(space, sessions);
}

/// With weights for a token coder, if there is more than one sequence to learn them from.
Result<Trie> build_windows(const Build& arguments, const Space& space, const Sequences& sequences,
                           const std::optional<Trie>& old) {
  const std::vector<TokenSpan> spans(sequences.begin(), sequences.end());
  auto trie = build_window_trie(space, spans, arguments.windows);
  if (trie && old) trie = merge(*old, *trie);
  if (!trie || arguments.no_weights || spans.size() < 2) return trie;
  auto weights = train_token_weights(space, spans, arguments.windows);
  if (!weights) return std::move(weights).error();
  return with_weights(*trie, *weights);
}

Result<int> build(const Build& arguments, const Options& options) {
  const Space space;
  if (arguments.windows > 0 && (arguments.first_id || !arguments.model.empty())) {
    return Error(ErrorCode::invalid_argument,
                 "windows have neither ids nor surprisals: --first-id and --model are for "
                 "tries of sessions");
  }
  auto sequences = read_all(arguments.tokens);
  if (!sequences) return std::move(sequences).error();
  std::optional<Trie> old;
  if (!arguments.add.empty()) {
    auto opened = Trie::open(arguments.add);
    if (!opened) return std::move(opened).error();
    old = std::move(*opened);
    if ((old->shape().kind == TrieKind::windows) != (arguments.windows > 0)) {
      return Error(ErrorCode::invalid_argument, "a trie of windows grows by --windows, one of sessions without it")
          .in_file(arguments.add);
    }
  }
  const std::uint64_t first_id =
      arguments.first_id.value_or(old && arguments.windows == 0 ? next_id(*old) : std::uint64_t{0});
  const double start = now();
  auto trie = arguments.windows > 0 ? build_windows(arguments, space, *sequences, old)
                                    : build_sessions(arguments, space, *sequences, first_id, options);
  if (trie && old && arguments.windows == 0) trie = merge(*old, *trie);
  if (!trie) return std::move(trie).error();
  const double seconds = now() - start;
  if (auto saved = trie->save(arguments.out); !saved) return std::move(saved).error();
  std::int64_t tokens = 0;
  for (const auto& sequence : *sequences) tokens += std::ssize(sequence);
  print(options, {{"sequences", sequences->size()},
                  {"tokens", tokens},
                  {"nodes", trie->shape().nodes},
                  {"bytes", trie->image().size()},
                  {"weights", trie->shape().weights > 0},
                  {"seconds", seconds},
                  {"tokens_per_second", static_cast<double>(tokens) / seconds},
                  {"out", arguments.out}});
  return 0;
}

struct Remove {
  std::string trie;
  std::vector<std::uint64_t> sessions;
  std::string out;
};

Result<int> remove(const Remove& arguments, const Options& options) {
  auto trie = Trie::open(arguments.trie);
  if (!trie) return std::move(trie).error();
  auto rest = remove_sessions(*trie, arguments.sessions);
  if (!rest) return std::move(rest).error().in_file(arguments.trie);
  if (auto saved = rest->save(arguments.out); !saved) return std::move(saved).error();
  print(options, {{"removed", arguments.sessions.size()},
                  {"sessions", rest->shape().total},
                  {"nodes", rest->shape().nodes},
                  {"bytes", rest->image().size()},
                  {"out", arguments.out}});
  return 0;
}

}  // namespace

Action declare_trie_build(CLI::App& app) {
  auto arguments = std::make_shared<Build>();
  app.add_option("--tokens", arguments->tokens, "Token files (.npy, .json, .jsonl, or the input_ids of .safetensors)")
      ->required();
  app.add_option("--out", arguments->out, "Trie file to write")->required();
  app.add_option("--windows", arguments->windows,
                 "Instead of whole sequences, of every position the next N tokens (1 to 31): n-gram counts")
      ->check(CLI::Range(1, 31));
  app.add_flag("--no-weights", arguments->no_weights,
               "Of windows: do not learn from the sequences how a token coder should mix the counts (quicker)");
  app.add_option("--add", arguments->add, "Trie file to which the sequences are added; it is not changed itself");
  app.add_option("--first-id", arguments->first_id,
                 "Id of the first sequence, the others count on (default: 0, or one above the largest in --add)");
  app.add_option("--model", arguments->model, "Record what this model says of each token (its surprisal)");
  app.footer(
      "Example:\n  seqkv trie build --tokens sessions.jsonl --model models/docs-7m --out sessions.trie\n"
      "  seqkv trie build --tokens calibration.jsonl --windows 6 --out counts.trie");
  return [arguments](const Options& options) { return build(*arguments, options); };
}

Action declare_trie_remove(CLI::App& app) {
  auto arguments = std::make_shared<Remove>();
  app.add_option("--trie", arguments->trie, "Trie file of sessions")->required();
  app.add_option("--session", arguments->sessions, "Ids of the sessions")->required();
  app.add_option("--out", arguments->out, "Trie file to write; may be the same")->required();
  app.footer("Example:\n  seqkv trie remove --trie sessions.trie --session 3 17 --out sessions.trie");
  return [arguments](const Options& options) { return remove(*arguments, options); };
}

}  // namespace seqkv::cli
