// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "cli/command.hpp"
#include "cli/store.hpp"
#include "seqkv/frame.hpp"

namespace seqkv::cli {
namespace {

struct Arguments {
  std::string frame;
  StoreOptions store;
  std::string session;
};

Report shape_report(const KvShape& shape) {
  return {{"layers", shape.layers},
          {"kv_heads", shape.kv_heads},
          {"head_dim", shape.head_dim},
          {"dtype", to_string(shape.dtype)},
          {"rope", Report{{"dim", shape.rope.dim},
                          {"theta", shape.rope.theta},
                          {"scaling", static_cast<int>(shape.rope.scaling)},
                          {"factor", shape.rope.factor}}}};
}

Value model_value(const Digest& model) { return model.is_zero() ? Value(nullptr) : Value(model.hex()); }

/// One row a block.
Result<std::vector<Report>> block_rows(const KvShape& shape, std::span<const CodedBlockView> blocks) {
  std::vector<Report> rows;
  for (const CodedBlockView& block : blocks) {
    auto info = inspect_block(shape, block);
    if (!info) return std::move(info).error().in_block(static_cast<std::int64_t>(rows.size()));
    const auto components = static_cast<double>(info->count) * static_cast<double>(shape.components_per_token());
    rows.push_back({{"block", rows.size()},
                    {"position", info->first_position},
                    {"tokens", info->count},
                    {"bytes", block.size()},
                    {"bits_per_component", 8.0 * static_cast<double>(block.size()) / components},
                    {"raw_subblocks", info->raw_subblocks}});
  }
  return rows;
}

Result<int> inspect_frame(const Arguments& arguments, const Options& options) {
  auto frame = FrameReader::open(arguments.frame);
  if (!frame) return std::move(frame).error();
  const FrameInfo& info = frame->info();
  auto rows = block_rows(info.shape, frame->blocks(0, info.blocks()));
  if (!rows) return std::move(rows).error().in_file(arguments.frame);
  const auto components = static_cast<double>(info.tokens * info.shape.components_per_token());
  print(options, {{"frame_version", frame_version},
                  {"codec", info.codec},
                  {"tokens", info.tokens},
                  {"block_tokens", info.block_tokens},
                  {"blocks", info.blocks()},
                  {"bytes", frame->bytes()},
                  {"bits_per_component", 8.0 * static_cast<double>(frame->bytes()) / components},
                  {"model", model_value(info.model)},
                  {"shape", shape_report(info.shape)},
                  {"rows", *rows}});
  return 0;
}

Result<int> inspect_session(const Store& store, const Arguments& arguments, const Options& options) {
  auto session = store.session(arguments.session);
  if (!session) return std::move(session).error();
  auto blocks = store.blocks(arguments.session);
  if (!blocks) return std::move(blocks).error();
  auto rows = block_rows(store.parameters().shape, *blocks);
  if (!rows) return std::move(rows).error().in_file(arguments.store.folder);
  print(options, {{"session", session->name},
                  {"codec", session->codec},
                  {"tokens", session->tokens},
                  {"bytes", session->bytes},
                  {"own_bytes", session->own_bytes},
                  {"rows", *rows}});
  return 0;
}

Result<int> inspect_store(const Arguments& arguments, const Options& options) {
  auto store = arguments.store.open();
  if (!store) return std::move(store).error();
  if (!arguments.session.empty()) return inspect_session(*store, arguments, options);
  auto totals = store->totals();
  if (!totals) return std::move(totals).error();
  const StoreParameters& parameters = store->parameters();
  print(options, {{"store_version", store_version},
                  {"model", model_value(parameters.model)},
                  {"block_tokens", parameters.block_tokens},
                  {"protection", to_string(parameters.protection)},
                  {"sessions", totals->sessions},
                  {"blocks", totals->blocks},
                  {"session_tokens", totals->session_tokens},
                  {"stored_tokens", totals->stored_tokens},
                  {"block_bytes", totals->block_bytes},
                  {"pack_bytes", totals->pack_bytes},
                  {"index_bytes", totals->index_bytes},
                  {"shape", shape_report(parameters.shape)}});
  return 0;
}

}  // namespace

Action declare_inspect(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  auto* from = app.add_option_group("what", "one of");
  from->add_option("frame", arguments->frame, "Frame (.sqkv)");
  auto* store = from->add_option("--store", arguments->store.folder, "Store folder");
  from->require_option(1);
  arguments->store.declare_reading(app, false);
  app.add_option("--session", arguments->session, "One session of the store, block by block")->needs(store);
  app.footer("Examples:\n  seqkv inspect kv.sqkv\n  seqkv inspect --store store --session first");
  return [arguments](const Options& options) {
    return arguments->store.folder.empty() ? inspect_frame(*arguments, options) : inspect_store(*arguments, options);
  };
}

}  // namespace seqkv::cli
