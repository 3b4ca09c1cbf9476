// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "cli/arguments.hpp"
#include "cli/write_blocks.hpp"
#include "seqkv/store.hpp"

namespace seqkv::cli {
namespace {

struct Arguments {
  std::string store;
  std::string session;
  std::string out;
  std::string dtype;
};

Result<int> run(const Arguments& arguments, const Options& options) {
  auto store = Store::open(arguments.store);
  if (!store) return std::move(store).error();
  auto session = store->session(arguments.session);
  if (!session) return std::move(session).error();
  const double start = now();
  auto blocks = store->blocks(arguments.session);
  if (!blocks) return std::move(blocks).error();
  const StoreParameters& parameters = store->parameters();
  CodedCache cache{parameters.shape, session->codec, parameters.model, parameters.block_tokens, *blocks, {}};
  for (const CodedBlockView& block : *blocks) {
    auto info = inspect_block(parameters.shape, block);
    if (!info) return std::move(info).error();
    cache.tokens.insert(cache.tokens.end(), info->tokens.begin(), info->tokens.end());
  }
  const DType dtype = arguments.dtype.empty() ? parameters.shape.dtype : dtype_of(arguments.dtype);
  if (auto status = write_blocks(options, cache, dtype, arguments.out); !status) {
    return std::move(status).error().at_field("session '" + arguments.session + "'").in_file(arguments.store);
  }
  print(options, {{"session", arguments.session},
                  {"tokens", cache.tokens.size()},
                  {"codec", session->codec},
                  {"dtype", to_string(dtype)},
                  {"seconds", now() - start},
                  {"out", arguments.out}});
  return 0;
}

}  // namespace

Action declare_restore(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  app.add_option("--store", arguments->store, "Store folder")->required();
  app.add_option("--session", arguments->session, "Name of the session")->required();
  app.add_option("--out", arguments->out, "KV file to write (.safetensors)")->required();
  add_dtype(app, arguments->dtype, "Number type of the cache in the file (default: that of the store)");
  app.footer("Example:\n  seqkv restore --store store --session first --out kv.safetensors");
  return [arguments](const Options& options) { return run(*arguments, options); };
}

}  // namespace seqkv::cli
