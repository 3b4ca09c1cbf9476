// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "cli/command.hpp"
#include "cli/store.hpp"

namespace seqkv::cli {
namespace {

struct RetainArguments {
  StoreOptions store;
  std::uint64_t bytes = 0;
  std::int64_t sessions = 0;
  std::string policy = "value";
  double half_life = RetentionRule().half_life;
};

Result<int> run(const RetainArguments& arguments, const Options& options) {
  RetentionRule rule;
  auto policy = parse_retention_policy(arguments.policy);
  if (!policy) return std::move(policy).error();
  rule.policy = *policy;
  rule.bytes = static_cast<std::int64_t>(arguments.bytes);
  rule.sessions = arguments.sessions;
  rule.half_life = arguments.half_life;
  auto store = arguments.store.open_for_writing();
  if (!store) return std::move(store).error();
  auto done = store->retain(rule);
  if (!done) return std::move(done).error();
  print(options, {{"expired", done->expired},
                  {"evicted", done->evicted},
                  {"blocks_evicted", done->blocks_evicted},
                  {"bytes_evicted", done->bytes_evicted},
                  {"bytes", done->bytes}});
  return 0;
}

}  // namespace

Action declare_retain(CLI::App& app) {
  auto arguments = std::make_shared<RetainArguments>();
  arguments->store.declare(app);
  constexpr bool thousands = false;  // 1K is 1024
  constexpr std::uint64_t most = 1ULL << 60U;
  app.add_option("--bytes", arguments->bytes, "Bytes of blocks at most, e.g. 500G (default: no bound)")
      ->transform(CLI::AsSizeValue(thousands))
      ->check(CLI::Range(std::uint64_t{1}, most));
  app.add_option("--sessions", arguments->sessions, "Sessions at most (default: no bound)")->check(CLI::PositiveNumber);
  app.add_option("--policy", arguments->policy, "What goes first: least value (default), lru, lfu or gdsf")
      ->check(CLI::IsMember({"value", "lru", "lfu", "gdsf"}));
  app.add_option("--half-life", arguments->half_life, "Seconds after which a use counts half (default: 7 days)")
      ->check(CLI::PositiveNumber);
  app.footer(
      "Sessions end with their last block; pinned ones stay. Bytes leave the disk with gc.\nExample:\n"
      "  seqkv retain --store store --bytes 500G && seqkv gc --store store");
  return [arguments](const Options& options) { return run(*arguments, options); };
}

}  // namespace seqkv::cli
