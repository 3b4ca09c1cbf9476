// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Any bytes as payloads of predicted sub-blocks, of every quantizer and several shapes: an error or values, and nothing
// read beyond the bytes. What is above a broken sub-block is predicted from whatever it left.
#include <unistd.h>
#include <Kokkos_Core.hpp>
#include <filesystem>
#include <map>
#include <span>
#include <vector>

#include "codec/block.hpp"
#include "seqkv/codec.hpp"
#include "support/profiles.hpp"

using namespace seqkv;

namespace {

const Kokkos::Serial& space() {
  static const Kokkos::ScopeGuard kokkos;
  static const Kokkos::Serial serial;
  return serial;
}

KvShape shape_of(std::uint8_t choice) {
  constexpr std::int64_t dims[] = {4, 6, 16, 20};
  constexpr DType dtypes[] = {DType::bf16, DType::f16, DType::f32};
  KvShape shape;
  shape.layers = 2;
  shape.kv_heads = 1 + choice % 2;
  shape.head_dim = dims[choice / 2 % 4];
  shape.dtype = dtypes[choice / 8 % 3];
  shape.rope.dim = choice / 24 % 2 == 0 ? shape.head_dim : 0;
  return shape;
}

/// A codec with a made-up profile of the shape.
const Codec& codec_for(const char* spec, const KvShape& shape) {
  static std::map<std::pair<std::string, std::string>, Codec> known;
  const std::pair key(std::string(spec), shape.describe());
  const auto found = known.find(key);
  if (found != known.end()) return found->second;
  const auto path = std::filesystem::temp_directory_path() / ("seqkv-fuzz-" + std::to_string(::getpid()));
  const auto profile = test::value_of(Profile::load(test::made_up_profile(shape, {.layers_below = 1}).write(path)));
  std::filesystem::remove(path);
  return known.emplace(key, test::value_of(test::value_of(Codec::parse(spec)).with_profile(profile))).first->second;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 8) return 0;
  constexpr const char* specs[] = {"linear+ecsq:step=0.25", "linear+turboquant:3"};
  const KvShape shape = shape_of(data[1]);
  const Codec& codec = codec_for(specs[data[0] % std::size(specs)], shape);
  const std::int64_t tokens = 1 + data[2] % 40;
  const std::vector<Token> ids(static_cast<std::size_t>(tokens), data[3] % 60U);
  auto rest = std::as_bytes(std::span(data, size)).subspan(4);
  codec::BlockWriter writer;
  writer.start({}, 0, ids, {}, 2 * shape.layers);
  for (std::int64_t i = 0; i < 2 * shape.layers; ++i) {
    // The bytes in parts of sizes that they name; the last takes what is left.
    std::size_t bytes = rest.size();
    if (i + 1 < 2 * shape.layers && rest.size() >= 2) {
      bytes = static_cast<std::size_t>(rest[0]) | static_cast<std::size_t>(rest[1]) << 8U;
      rest = rest.subspan(2);
      bytes = std::min(bytes, rest.size());
    }
    writer.append({rest.first(bytes), false});
    rest = rest.subspan(bytes);
  }
  const CodedBlock block = writer.finish(0);
  const CodedBlockView view = block;
  KvCache out = test::value_of(KvCache::create(shape, tokens));
  if (decode(space(), codec, std::span(&view, 1), out.view()).ok())
    __builtin_trap();  // the values' checksum is made up
  return 0;
}
