// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Prints which kernels and how many threads this process has, and one hash over caches, logits and gradients of all
// models at hand. The choice of kernels is made once a process, so that whole processes have to be compared:
// same_bits.cmake.
#include <fmt/format.h>

#include <Kokkos_Core.hpp>
#include <algorithm>
#include <filesystem>
#include <set>

#include "seqkv/backends.hpp"
#include "seqkv/cache_gradient.hpp"
#include "seqkv/hash.hpp"
#include "seqkv/kv_file.hpp"
#include "support/runs.hpp"

namespace {

using namespace seqkv;
using Space = Kokkos::DefaultHostExecutionSpace;

void add(Sha256& hash, const Space& space, const std::filesystem::path& folder, TokenSpan tokens) {
  const auto model = test::value_of(Model<Space>::load(space, folder));
  const test::Outcome outcome = test::run_alone(space, model, tokens, 100, 8);
  for (const auto* part : {&outcome.kv, &outcome.logits, &outcome.attention}) {
    hash.update(std::as_bytes(std::span(*part)));
  }
  Sequence<Space> sequence(model->config());
  const auto context = std::min<std::int64_t>(static_cast<std::int64_t>(tokens.size()) - 20, 48);
  test::run_on(space, model, {&sequence}, {tokens.first(context)}, 100, 0);
  auto gradient = test::value_of(CacheGradient<Space>::create(space, model));
  KvCache out = test::value_of(KvCache::create(model->config().kv_shape(DType::f32), context));
  test::value_of(gradient.run(space, sequence, tokens.subspan(context, 20), 1, out.view()));
  hash.update(out.raw());
}

}  // namespace

int main() {
  const Kokkos::ScopeGuard kokkos(Kokkos::InitializationSettings().set_disable_warnings(true));
  const Space space;
  Sha256 hash;
  std::set<std::filesystem::path> folders;
  for (const auto& folder : std::filesystem::directory_iterator(SEQKV_TEST_DATA "/families"))
    folders.insert(folder.path());
  for (const auto& folder : folders) {
    const KvFile golden = test::value_of(KvFile::open(folder / "golden.safetensors"));
    add(hash, space, folder, golden.tokens());
  }
  const KvFile golden = test::value_of(KvFile::open(SEQKV_TEST_DATA "/docs-7m-golden.safetensors"));
  add(hash, space, SEQKV_MODEL, golden.tokens());
  fmt::print("{} {} {}", cpu_kernels(), space.concurrency(), hash.finish().hex());
}
