// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// What the program of a user looks like: codes a cache, decodes it and compares.
#include <Kokkos_Core.hpp>
#include <cstdio>
#include <cstring>
#include <numeric>
#include <seqkv/seqkv.hpp>
#if defined(DOWNSTREAM_HAS_MPI)
#include <seqkv/mpi.hpp>
#endif

namespace seqkv {
namespace {

Result<bool> restores_exactly() {
  const Kokkos::DefaultExecutionSpace space;
  KvShape shape;
  shape.layers = 2;
  shape.kv_heads = 2;
  shape.head_dim = 64;
  std::vector<Token> tokens(300);
  std::iota(tokens.begin(), tokens.end(), 1U);

  auto cache = KvCache::create(shape, static_cast<std::int64_t>(tokens.size()));
  if (!cache) return cache.error();
  std::memset(cache->view().tensors[0], 0x3f, static_cast<std::size_t>(cache->bytes()));

  const auto codec = Codec::parse("none+lossless");
  if (!codec) return codec.error();
  FrameInfo info;
  info.shape = shape;
  info.tokens = cache->tokens();
  info.codec = codec->spec();
  const auto blocks = encode(space, *codec, cache->view(), tokens, 0, info.block_tokens);
  if (!blocks) return blocks.error();
  const auto frame = make_frame(info, *blocks);
  if (!frame) return frame.error();

  const auto reader = FrameReader::parse(*frame, "frame in memory");
  if (!reader) return reader.error();
  const auto restored = decode(space, *reader);
  if (!restored) return restored.error();
  std::printf("seqkv %s: %zu bytes of %lld\n", std::string(version()).c_str(), frame->size(),
              static_cast<long long>(cache->bytes()));
  return std::memcmp(cache->raw().data(), restored->raw().data(), cache->raw().size()) == 0;
}

}  // namespace
}  // namespace seqkv

int main(int argc, char** argv) {
#if defined(DOWNSTREAM_HAS_MPI)
  std::printf("with %s\n", seqkv::mpi::Communicator::library_version().c_str());
#endif
  const Kokkos::ScopeGuard kokkos(argc, argv);
  const auto same = seqkv::restores_exactly();
  if (!same) {
    std::fprintf(stderr, "%s\n", same.error().describe().c_str());
    return seqkv::exit_code(same.error().code);
  }
  return *same ? 0 : 1;
}
