// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Any bytes as payloads of predicted sub-blocks, of every coder of residuals and several shapes: the kernels of this
// machine give the verdict and the values of the portable ones, and nothing is read beyond the bytes. What is above a
// broken sub-block is predicted from whatever it left, and not compared.
#include <unistd.h>
#include <Kokkos_Core.hpp>
#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <span>
#include <vector>

#include "backends/cpu/kernels.hpp"
#include "codec/decoder.hpp"
#include "core/float16.hpp"
#include "support/profiles.hpp"

using namespace seqkv;

namespace {

using Space = Kokkos::Serial;

const Space& space() {
  static const Kokkos::ScopeGuard kokkos;
  static const Space serial;
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

/// Made up; that takes a while.
const std::shared_ptr<const Profile>& profile_for(const KvShape& shape) {
  static std::map<std::string, std::shared_ptr<const Profile>> known;
  std::shared_ptr<const Profile>& profile = known[shape.describe() + std::to_string(shape.rope.dim)];
  if (profile != nullptr) return profile;
  const auto path = std::filesystem::temp_directory_path() / ("seqkv-fuzz-" + std::to_string(::getpid()));
  const test::MadeUp how{.layers_below = 1, .references = true};
  profile = test::value_of(Profile::load(test::made_up_profile(shape, how).write(path)));
  std::filesystem::remove(path);
  return profile;
}

constexpr std::uint64_t reference_hash = 1;
constexpr std::int64_t reference_tokens = 24;

/// A block to predict from.
KvCache make_reference(const KvShape& shape) {
  KvCache cache = test::value_of(KvCache::create(shape, reference_tokens));
  for (std::byte* tensor : cache.view().tensors) {
    for (std::int64_t i = 0; i < shape.kv_heads * reference_tokens * shape.head_dim; ++i) {
      store_from_float(tensor, shape.dtype, i, static_cast<float>(i % 13) - 6.0F);
    }
  }
  return cache;
}

/// The bytes in parts of sizes that they name; the last takes what is left.
CodedBlock make_block(std::span<const std::byte> rest, std::span<const Token> ids,
                      std::span<const BlockReference> references, std::int64_t subblocks) {
  codec::BlockWriter writer;
  writer.start({}, 0, ids, references, subblocks);
  for (std::int64_t i = 0; i < subblocks; ++i) {
    std::size_t bytes = rest.size();
    if (i + 1 < subblocks && rest.size() >= 2) {
      bytes = static_cast<std::size_t>(rest[0]) | static_cast<std::size_t>(rest[1]) << 8U;
      rest = rest.subspan(2);
      bytes = std::min(bytes, rest.size());
    }
    writer.append({rest.first(bytes), false});
    rest = rest.subspan(bytes);
  }
  return writer.finish(0);
}

struct Outcome {
  ErrorCode code;
  std::string message;
  std::vector<std::byte> values;  ///< where all sub-blocks decode
};

Outcome decode(const Codec& codec, const KvShape& shape, std::span<const codec::BlockParts> parts,
               const ReferenceBlock& reference) {
  auto decoder = test::value_of(codec::Decoder<Space>::create(space(), codec, shape));
  const auto status = decoder.run(parts, std::span(&reference, 1));
  if (status.ok()) __builtin_trap();  // the values' checksum is made up
  Outcome out{status.error().code, status.error().message, {}};
  if (out.code != ErrorCode::checksum_mismatch) return out;
  const auto bytes = static_cast<std::size_t>(codec::raw_bytes(shape, parts[0].tokens));
  for (const std::byte* tensor : decoder.values(0).tensors) out.values.insert(out.values.end(), tensor, tensor + bytes);
  return out;
}

/// No encoder codes what gives a NaN, and which of them results is up to the instruction.
bool same_values(const std::vector<std::byte>& a, const std::vector<std::byte>& b, DType dtype) {
  if (a.size() != b.size()) return false;
  if (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0) return true;
  const std::size_t size = size_of(dtype);
  for (std::size_t i = 0; i < a.size() / size; ++i) {
    const auto at = static_cast<std::int64_t>(i);
    const bool same = std::memcmp(&a[i * size], &b[i * size], size) == 0;
    if (!same && !(std::isnan(load_as_float(a.data(), dtype, at)) && std::isnan(load_as_float(b.data(), dtype, at)))) {
      return false;
    }
  }
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 8) return 0;
  constexpr const char* specs[] = {"linear+ecsq:step=0.25", "linear+turboquant:3", "linear+lossless",
                                   "linear+ref+ecsq:step=0.25"};
  const std::size_t choice = data[0] % std::size(specs);
  const KvShape shape = shape_of(data[1]);
  const Codec codec = test::value_of(test::value_of(Codec::parse(specs[choice])).with_profile(profile_for(shape)));
  const std::int64_t tokens = 1 + data[2] % 40;
  const std::vector<Token> ids(static_cast<std::size_t>(tokens), data[3] % 60U);
  const KvCache cache = make_reference(shape);
  const ReferenceBlock reference{reference_hash, 100, cache.view()};
  std::vector<BlockReference> pieces;
  if (choice == 3) pieces.push_back({0, std::min(tokens, reference_tokens), reference_hash, 0});
  const CodedBlock block = make_block(std::as_bytes(std::span(data, size)).subspan(4), ids, pieces, 2 * shape.layers);
  const CodedBlockView view = block;
  const auto parts = codec::parse_blocks(space(), shape, std::span(&view, 1));
  if (!parts.ok()) return 0;  // a sub-block as long as raw values

  cpu::use_kernels(nullptr);
  const Outcome expected = decode(codec, shape, *parts, reference);
  for (const char* name : {"avx2", "avx512"}) {
    const cpu::Kernels* kernels = cpu::kernels(name);
    if (kernels == nullptr) continue;
    cpu::use_kernels(kernels);
    const Outcome outcome = decode(codec, shape, *parts, reference);
    if (outcome.code != expected.code || outcome.message != expected.message) __builtin_trap();
    if (!same_values(outcome.values, expected.values, shape.dtype)) __builtin_trap();
  }
  return 0;
}
