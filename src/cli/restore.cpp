// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "cli/arguments.hpp"
#include "cli/transfer.hpp"
#include "seqkv/store.hpp"

namespace seqkv::cli {
namespace {

struct Arguments {
  std::string store;
  std::string session;
  std::string out;
  std::string dtype;
  std::string model;
  std::uint64_t memory = 0;
};

Result<int> run(const Arguments& arguments, const Options& options) {
  const double start = now();
  auto store = Store::open(arguments.store);
  if (!store) return std::move(store).error();
  auto source = store->source(arguments.session);
  if (!source) return std::move(source).error();
  const DType dtype = arguments.dtype.empty() ? source->shape.dtype : dtype_of(arguments.dtype);
  std::shared_ptr<const Profile> profile;
  if (!source->profile.is_zero()) {
    auto loaded = store->profile(source->profile);
    if (!loaded) return std::move(loaded).error().at_field("session '" + arguments.session + "'");
    profile = std::move(*loaded);
  }
  auto model = load_model_if_named(options, arguments.model);
  if (!model) return std::move(model).error();
  auto transfer = write_kv_file(options, *source, dtype, arguments.memory, arguments.out, profile, *model);
  if (!transfer) {
    return std::move(transfer).error().at_field("session '" + arguments.session + "'").in_file(arguments.store);
  }
  Report report = {{"session", arguments.session},
                   {"tokens", source->tokens()},
                   {"codec", source->codec},
                   {"dtype", to_string(dtype)}};
  add_figures(report, *transfer, source->tokens() * source->shape.components_per_token(), now() - start);
  report.set("out", arguments.out);
  print(options, report);
  return 0;
}

}  // namespace

Action declare_restore(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  app.add_option("--store", arguments->store, "Store folder")->required();
  app.add_option("--session", arguments->session, "Name of the session")->required();
  app.add_option("--out", arguments->out, "KV file to write (.safetensors)")->required();
  add_dtype(app, arguments->dtype, "Number type of the cache in the file (default: that of the store)");
  add_replay_model(app, arguments->model);
  add_memory(app, arguments->memory);
  app.footer("Example:\n  seqkv restore --store store --session first --out kv.safetensors");
  return [arguments](const Options& options) { return run(*arguments, options); };
}

}  // namespace seqkv::cli
