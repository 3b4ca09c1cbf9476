// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "cli/arguments.hpp"
#include "cli/transfer.hpp"

namespace seqkv::cli {
namespace {

struct DecompressArguments {
  std::string in;
  std::string out;
  std::string dtype;
  std::string profile;
  std::string model;
  std::uint64_t memory = 0;
};

Result<int> run(const DecompressArguments& arguments, const Options& options) {
  const double start = now();
  auto frame = FrameReader::open(arguments.in);
  if (!frame) return std::move(frame).error();
  const FrameInfo& info = frame->info();
  const DType dtype = arguments.dtype.empty() ? info.shape.dtype : dtype_of(arguments.dtype);
  auto profile = load_profile(arguments.profile);
  if (!profile) return std::move(profile).error();
  auto model = load_model_if_named(options, arguments.model);
  if (!model) return std::move(model).error();
  auto transfer = write_kv_file(options, source_of(*frame), dtype, arguments.memory, arguments.out, *profile, *model);
  if (!transfer) return std::move(transfer).error().in_file(arguments.in);
  Report report = {{"codec", info.codec}, {"tokens", info.tokens}, {"dtype", to_string(dtype)}};
  add_figures(report, *transfer, info.tokens * info.shape.components_per_token(), now() - start);
  report.set("out", arguments.out);
  print(options, report);
  return 0;
}

}  // namespace

Action declare_decompress(CLI::App& app) {
  auto arguments = std::make_shared<DecompressArguments>();
  app.add_option("in", arguments->in, "Frame (.sqkv)")->required();
  app.add_option("out", arguments->out, "KV file to write (.safetensors)")->required();
  add_dtype(app, arguments->dtype, "Number type of the cache in the file (default: that of the frame)");
  add_profile(app, arguments->profile);
  add_replay_model(app, arguments->model);
  add_memory(app, arguments->memory);
  app.footer("Example:\n  seqkv decompress kv.sqkv kv.safetensors");
  return [arguments](const Options& options) { return run(*arguments, options); };
}

}  // namespace seqkv::cli
