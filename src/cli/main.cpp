// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <fmt/format.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <new>

#include "cli/command.hpp"
#include "cli/ranks.hpp"
#include "seqkv/backends.hpp"
#include "seqkv/version.hpp"

namespace seqkv::cli {

const std::vector<Command>& commands() {
  static const std::vector<Command> list = {
      {"info", "Show the build, its backends and limits", declare_info},
      {"tokenize", "Turn text into token ids, or back", declare_tokenize},
      {"prefill", "Run a model over text and write its KV cache", declare_prefill},
      {"compare", "Compare two KV caches of the same tokens", declare_compare},
      {"calibrate", "Learn a profile of a model from text, for codecs that predict", declare_calibrate},
      {"compress", "Code a KV cache into a frame (.sqkv)", declare_compress},
      {"decompress", "Restore a KV cache from a frame", declare_decompress},
      {"evaluate", "Measure codecs on text: bits against quality after a restore", declare_evaluate},
      {"advise", "Say which codec restores soonest at a bandwidth and a KL", declare_advise},
      {"batch", "Put the sessions of a manifest into a store, each shared prefix once", declare_batch, true},
      {"restore", "Write the KV cache of a stored session", declare_restore},
      {"ls", "List the sessions of a store", declare_ls},
      {"inspect", "Look into a frame, a store or a session", declare_inspect},
      {"verify", "Check every byte of a frame or a store", declare_verify},
      {"rm", "Remove sessions from a store", declare_rm},
      {"fork", "Branch a session of a store at a token", declare_fork},
      {"keep", "Say how long a session of a store is to be kept", declare_keep},
      {"retain", "Bring a store within budgets: what is worth least goes", declare_retain},
      {"gc", "Give back the disk space of what was removed from a store", declare_gc},
      {"repair", "Drop what is broken in a store, or make its index again", declare_repair},
      {"trie", "Build and ask tries of token sequences", declare_trie},
      {"encode-tokens", "Code tokens near their entropy, by n-gram counts or a model", declare_encode_tokens},
      {"decode-tokens", "Restore coded tokens", declare_decode_tokens},
  };
  return list;
}

namespace {

constexpr const char* footer = R"(Examples:
  seqkv prefill --model models/docs-7m --text README.md --out kv.safetensors
  seqkv compress kv.safetensors kv.sqkv --codec none+turboquant:4
  seqkv decompress kv.sqkv restored.safetensors
  seqkv batch sessions.jsonl --store store --model models/docs-7m --codec none+lossless
  mpirun -n 4 seqkv batch sessions.jsonl --store store --model models/docs-7m --codec none+lossless --restart
  seqkv restore --store store --session first --out kv.safetensors

Results go to stdout (as JSON with --json), everything else to stderr.
Exit codes: 0 done, 1 a bug, 2 usage, 3 bad input, 4 not found, 5 corrupt, 6 I/O, 7 resources, 8 interrupted.)";

int report(const Error& error) {
  put(stderr, fmt::format("seqkv: {}\n", error.describe()));
  return exit_code(error.code);
}

int run_action(const Action& action, bool on_ranks, Options options) {
  const auto ranks = Ranks::start();  // before Kokkos, and it ends after it
  if (!ranks) return report(ranks.error());
  if (ranks->are_many() && !on_ranks) {
    const Error error(ErrorCode::unsupported, "this command runs as one process; under mpirun there is batch");
    return ranks->talk() ? report(error) : exit_code(error.code);
  }
  options.ranks = &*ranks;
  options.quiet = options.quiet || !ranks->talk();
  if (options.threads == 0) options.threads = ranks->threads();
  Kokkos::InitializationSettings settings;
  settings.set_disable_warnings(true);
  settings.set_num_threads(options.threads);
  if (const auto device = ranks->device(Kokkos::num_devices())) settings.set_device_id(*device);
  const Kokkos::ScopeGuard kokkos(settings);
  const char* wanted = std::getenv("SEQKV_CPU");
  if (wanted != nullptr && *wanted != '\0' && cpu_kernels() != wanted) {
    say(options,
        fmt::format("seqkv: SEQKV_CPU={}: not among this machine's kernels, {} are used", wanted, cpu_kernels()));
  }
  const Result<int> status = action(options);
  if (status) return *status;
  return ranks->talk() ? report(status.error()) : exit_code(status.error().code);
}

/// The exit code: a result that could not be written is no result.
int finish(int status) {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return status;
  put(stderr, "seqkv: cannot write to standard output\n");
  return exit_code(ErrorCode::io);
}

int run(int argc, char** argv) {
  CLI::App app("seqkv stores, moves and restores KV caches of language models as sequences.", "seqkv");
  app.footer(footer);
  app.set_version_flag("--version", std::string(version()));
  app.require_subcommand(1);
  app.fallthrough();
  Options options;
  app.add_flag("--json", options.json, "Print the result as one JSON object");
  app.add_flag("-q,--quiet", options.quiet, "No talk and no progress on stderr, errors only");
  app.add_option("--threads", options.threads, "Threads (default: OMP_NUM_THREADS, or the cores given to this process)")
      ->check(CLI::Range(1, 4096));
  Action action;
  bool on_ranks = false;
  for (const Command& command : commands()) {
    CLI::App* sub = app.add_subcommand(command.name, command.summary);
    sub->callback([&, knows = command.on_ranks, declared = command.declare(*sub)]() {
      action = declared;
      on_ranks = knows;
    });
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& problem) {
    constexpr int usage = 2;
    return finish(app.exit(problem) == 0 ? 0 : usage);
  }
  return finish(run_action(action, on_ranks, options));
}

}  // namespace
}  // namespace seqkv::cli

int main(int argc, char** argv) {
  std::signal(SIGXFSZ, SIG_IGN);  // past `ulimit -f` a write fails and is reported, instead of the end of the program
  seqkv::cli::remember_warning();
  try {
    return seqkv::cli::run(argc, argv);
  } catch (const std::bad_alloc&) {
    seqkv::cli::put(stderr, "seqkv: out of memory\n");
    return seqkv::exit_code(seqkv::ErrorCode::out_of_memory);
  } catch (const std::exception& problem) {
    seqkv::cli::put(stderr, fmt::format("seqkv: internal error, please report it: {}\n", problem.what()));
    return seqkv::exit_code(seqkv::ErrorCode::internal);
  }
}
