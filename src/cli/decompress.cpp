// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "cli/arguments.hpp"
#include "cli/write_blocks.hpp"
#include "seqkv/frame.hpp"

namespace seqkv::cli {
namespace {

struct Arguments {
  std::string in;
  std::string out;
  std::string dtype;
};

Result<int> run(const Arguments& arguments, const Options& options) {
  auto frame = FrameReader::open(arguments.in);
  if (!frame) return std::move(frame).error();
  auto tokens = frame->tokens();
  if (!tokens) return std::move(tokens).error();
  const FrameInfo& info = frame->info();
  const DType dtype = arguments.dtype.empty() ? info.shape.dtype : dtype_of(arguments.dtype);
  const double start = now();
  const CodedCache cache{info.shape, info.codec, info.model, info.block_tokens, frame->blocks(0, info.blocks()),
                         *tokens};
  if (auto status = write_blocks(options, cache, dtype, arguments.out); !status)
    return std::move(status).error().in_file(arguments.in);
  const double seconds = now() - start;
  const auto components = static_cast<double>(info.tokens * info.shape.components_per_token());
  print(options, {{"codec", info.codec},
                  {"tokens", info.tokens},
                  {"dtype", to_string(dtype)},
                  {"seconds", seconds},
                  {"GBps", 2e-9 * components / seconds},
                  {"out", arguments.out}});
  return 0;
}

}  // namespace

Action declare_decompress(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  app.add_option("in", arguments->in, "Frame (.sqkv)")->required();
  app.add_option("out", arguments->out, "KV file to write (.safetensors)")->required();
  add_dtype(app, arguments->dtype, "Number type of the cache in the file (default: that of the frame)");
  app.footer("Example:\n  seqkv decompress kv.sqkv kv.safetensors");
  return [arguments](const Options& options) { return run(*arguments, options); };
}

}  // namespace seqkv::cli
