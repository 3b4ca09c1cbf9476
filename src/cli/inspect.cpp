// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <fmt/format.h>

#include "cli/command.hpp"
#include "cli/store.hpp"
#include "seqkv/frame.hpp"

namespace seqkv::cli {
namespace {

struct InspectArguments {
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

/// What a block is predicted from: in JSON one object a span.
std::vector<Report> reference_rows(const CodedBlockInfo& info) {
  std::vector<Report> rows;
  for (const BlockReference& reference : info.references) {
    rows.push_back({{"first", reference.first},
                    {"count", reference.count},
                    {"hash", fmt::format("{:016x}", reference.hash)},
                    {"source", reference.source}});
  }
  return rows;
}

Report block_row(const KvShape& shape, std::int64_t number, CodedBlockView block, const CodedBlockInfo& info) {
  const auto components = static_cast<double>(info.count) * static_cast<double>(shape.components_per_token());
  return {{"block", number},
          {"position", info.first_position},
          {"tokens", info.count},
          {"bytes", block.size()},
          {"bits_per_component", 8.0 * static_cast<double>(block.size()) / components},
          {"raw_subblocks", info.raw_subblocks}};
}

/// One row a block, which is read for it alone.
Result<std::vector<Report>> rows_of(const FrameReader& frame) {
  std::vector<Report> rows;
  std::vector<std::byte> buffer;
  for (std::int64_t i = 0; i < frame.info().blocks(); ++i) {
    auto bytes = frame.read(i, buffer);
    if (!bytes) return std::move(bytes).error();
    auto info = inspect_block(frame.info().shape, *bytes);
    if (!info) return std::move(info).error().in_block(i);
    rows.push_back(block_row(frame.info().shape, i, *bytes, *info));
  }
  return rows;
}

/// One row a block, with what it is predicted from and what it takes to restore it.
Result<std::vector<Report>> rows_of(const KvShape& shape, const StoredBlocks& blocks, bool json) {
  std::vector<Report> rows;
  for (const CodedBlockView& block : blocks) {
    const auto number = static_cast<std::int64_t>(rows.size());
    auto info = inspect_block(shape, block);
    if (!info) return std::move(info).error().in_block(number);
    Report row = block_row(shape, number, block, *info);
    const std::vector<std::size_t>& sources = blocks.references_of(rows.size());
    std::int64_t tokens = 0;
    for (const BlockReference& reference : info->references) tokens += reference.count;
    auto bytes = static_cast<std::int64_t>(block.size());
    for (const std::size_t source : sources)
      bytes += static_cast<std::int64_t>(blocks.references()[source].block.size());
    row.set("reference_tokens", tokens);
    row.set("reference_blocks", sources.size());
    row.set("restore_bytes", bytes);
    if (json) row.set("references", reference_rows(*info));
    rows.push_back(std::move(row));
  }
  return rows;
}

Result<int> inspect_frame(const InspectArguments& arguments, const Options& options) {
  auto frame = FrameReader::open(arguments.frame);
  if (!frame) return std::move(frame).error();
  const FrameInfo& info = frame->info();
  auto rows = rows_of(*frame);
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

Result<int> inspect_session(const Store& store, const InspectArguments& arguments, const Options& options) {
  auto session = store.session(arguments.session);
  if (!session) return std::move(session).error();
  auto blocks = store.blocks(arguments.session);
  if (!blocks) return std::move(blocks).error();
  auto rows = rows_of(store.parameters().shape, *blocks, options.json);
  if (!rows) return std::move(rows).error().in_file(arguments.store.folder);
  std::int64_t reference_bytes = 0;
  for (const StoredReference& source : blocks->references()) {
    reference_bytes += static_cast<std::int64_t>(source.block.size());
  }
  print(options, {{"session", session->name},
                  {"codec", session->codec},
                  {"tokens", session->tokens},
                  {"bytes", session->bytes},
                  {"own_bytes", session->own_bytes},
                  {"reference_blocks", blocks->references().size()},
                  {"reference_bytes", reference_bytes},
                  {"rows", *rows}});
  return 0;
}

Result<int> inspect_store(const InspectArguments& arguments, const Options& options) {
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
  auto arguments = std::make_shared<InspectArguments>();
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
