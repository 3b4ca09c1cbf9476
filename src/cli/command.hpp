// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// What the commands of the program share: how one is declared, how results, progress and errors come out.
#pragma once

#include <CLI/CLI.hpp>
#include <Kokkos_Core.hpp>
#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "cli/report.hpp"
#include "seqkv/result.hpp"

namespace seqkv::cli {

class Ranks;

using Space = Kokkos::DefaultExecutionSpace;

/// Options that every command takes.
struct Options {
  bool json = false;
  bool quiet = false;
  int threads = 0;               ///< never 0 when a command runs
  const Ranks* ranks = nullptr;  ///< set when a command runs
};

/// What a command does, once its options are parsed. It returns the exit code.
using Action = std::function<Result<int>(const Options&)>;

/// A command of the program: declares its options on `app` and returns its action.
struct Command {
  const char* name;
  const char* summary;
  Action (*declare)(CLI::App& app);
  bool on_ranks = false;  ///< whether it knows how to work with others under mpirun
};

/// All of them, in the order of the help.
const std::vector<Command>& commands();

Action declare_info(CLI::App& app);
Action declare_tokenize(CLI::App& app);
Action declare_prefill(CLI::App& app);
Action declare_compare(CLI::App& app);
Action declare_compress(CLI::App& app);
Action declare_decompress(CLI::App& app);
Action declare_evaluate(CLI::App& app);
Action declare_advise(CLI::App& app);
Action declare_calibrate(CLI::App& app);
Action declare_batch(CLI::App& app);
Action declare_restore(CLI::App& app);
Action declare_ls(CLI::App& app);
Action declare_rm(CLI::App& app);
Action declare_fork(CLI::App& app);
Action declare_keep(CLI::App& app);
Action declare_retain(CLI::App& app);
Action declare_gc(CLI::App& app);
Action declare_repair(CLI::App& app);
Action declare_inspect(CLI::App& app);
Action declare_verify(CLI::App& app);
Action declare_trie(CLI::App& app);
Action declare_encode_tokens(CLI::App& app);
Action declare_decode_tokens(CLI::App& app);

/// Prints a result: as JSON with --json, else as text.
void print(const Options& options, const Report& report);

/// A line of talk on stderr, unless --quiet.
void say(const Options& options, const std::string& line);

/// A progress bar on stderr; silent when stderr is no terminal, or with --quiet.
class Progress {
 public:
  Progress(const Options& options, std::string label);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  void update(std::int64_t done, std::int64_t all);

 private:
  void draw(std::int64_t done, std::int64_t all);
  bool visible_;
  std::string label_;
  double started_;
  double drawn_ = 0;
};

/// Seconds on a steady clock.
double now();

/// SIGUSR1, by which batch systems warn of the end, counts from now on: a rank that is still starting is not killed by
/// it.
void remember_warning();
/// Becomes true at the first SIGINT or SIGTERM from now on, or the first SIGUSR1 since the program began; the second
/// ends the program as usual.
const std::atomic<bool>& stop_on_signal();

}  // namespace seqkv::cli
