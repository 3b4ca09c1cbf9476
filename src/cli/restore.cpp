// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <fmt/format.h>

#include <algorithm>

#include "cli/arguments.hpp"
#include "cli/store.hpp"
#include "cli/transfer.hpp"
#include "seqkv/session.hpp"

namespace seqkv::cli {
namespace {

struct RestoreArguments {
  StoreOptions store;
  std::string session;
  std::string out;
  std::string dtype;
  std::string model;
  std::uint64_t memory = 0;
  RestorePart part;

  bool is_part() const {
    return part.first_token != 0 || part.tokens != 0 || part.first_layer != 0 || part.layers != 0 ||
           part.first_head != 0 || part.heads != 0;
  }
};

/// Some tokens, layers or heads, through memory.
Result<int> restore_part(const RestoreArguments& arguments, const Options& options, const Store& store,
                         const SessionInfo& session) {
  const double start = now();
  RestorePart part = arguments.part;
  KvShape shape = store.parameters().shape;
  const auto counted = [](std::int64_t first, std::int64_t count, std::int64_t all) {
    return count > 0 ? count : std::max<std::int64_t>(all - first, 0);
  };
  const std::int64_t tokens = counted(part.first_token, part.tokens, session.tokens);
  shape.layers = counted(part.first_layer, part.layers, shape.layers);
  shape.kv_heads = counted(part.first_head, part.heads, shape.kv_heads);
  if (!arguments.dtype.empty()) shape.dtype = dtype_of(arguments.dtype);
  if (part.first_token >= session.tokens || tokens > session.tokens - part.first_token) {
    return Error(ErrorCode::invalid_argument, fmt::format("{} tokens from {} on, session '{}' has {}", tokens,
                                                          part.first_token, session.name, session.tokens));
  }
  auto codec = store.codec(session.name);
  if (!codec) return std::move(codec).error();
  // Whether there can be so many tokens at all, before memory is taken for them.
  if (auto good = check_sizes(*codec, store.parameters().shape, session.bytes, session.tokens); !good) {
    return std::move(good).error().in_file(arguments.store.folder);
  }
  auto cache = KvCache::create(shape, tokens);
  if (!cache) return std::move(cache).error();
  auto ids = restore(Space(), store, session.name, part, cache->view());
  if (!ids) return std::move(ids).error().in_file(arguments.store.folder);
  auto writer = KvFileWriter::create(arguments.out, shape, *ids, store.parameters().model);
  if (!writer) return std::move(writer).error();
  auto status = writer->write(cache->view(), 0);
  if (status) status = writer->commit();
  if (!status) return std::move(status).error();
  print(options, {{"session", session.name},
                  {"first_token", part.first_token},
                  {"tokens", tokens},
                  {"layers", shape.layers},
                  {"kv_heads", shape.kv_heads},
                  {"codec", session.codec},
                  {"dtype", to_string(shape.dtype)},
                  {"seconds", now() - start},
                  {"out", arguments.out}});
  return 0;
}

Result<int> run(const RestoreArguments& arguments, const Options& options) {
  const double start = now();
  auto store = arguments.store.open();
  if (!store) return std::move(store).error();
  auto source = store->source(arguments.session);
  // A session that was forked inside a block is a part of its blocks.
  if (arguments.is_part() || (!source && source.error().code == ErrorCode::unsupported)) {
    auto session = store->session(arguments.session);
    if (!session) return std::move(session).error();
    return restore_part(arguments, options, *store, *session);
  }
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
    return std::move(transfer).error().at_field("session '" + arguments.session + "'").in_file(arguments.store.folder);
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
  auto arguments = std::make_shared<RestoreArguments>();
  arguments->store.declare_reading(app);
  app.add_option("--session", arguments->session, "Name of the session")->required();
  app.add_option("--out", arguments->out, "KV file to write (.safetensors)")->required();
  add_dtype(app, arguments->dtype, "Number type of the cache in the file (default: that of the store)");
  add_replay_model(app, arguments->model);
  add_memory(app, arguments->memory);
  RestorePart& part = arguments->part;
  const auto add = [&app](const char* name, std::int64_t& number, const char* help) {
    app.add_option(name, number, help)->check(CLI::NonNegativeNumber);
  };
  add("--first-token", part.first_token, "Tokens from this one on");
  add("--tokens", part.tokens, "How many tokens (default: all that follow)");
  add("--first-layer", part.first_layer, "Layers from this one on");
  add("--layers", part.layers, "How many layers");
  add("--first-head", part.first_head, "Key-value heads from this one on");
  add("--heads", part.heads, "How many heads");
  app.footer("Example:\n  seqkv restore --store store --session first --out kv.safetensors");
  return [arguments](const Options& options) { return run(*arguments, options); };
}

}  // namespace seqkv::cli
