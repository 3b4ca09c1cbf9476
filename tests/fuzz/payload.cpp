// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Any bytes as payloads of sub-blocks, of every codec, dtype and several shapes: the kernels of this machine give the
// verdict and the values of the portable ones, and read nothing beyond the bytes.
#include <Kokkos_Core.hpp>
#include <cstring>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "codec/batch.hpp"
#include "codec/kernel.hpp"

using namespace seqkv;

namespace {

using Space = Kokkos::Serial;

const Space& space() {
  static const Kokkos::ScopeGuard kokkos;
  static const Space serial;
  return serial;
}

/// What the first four bytes ask for.
struct Request {
  const char* codec;
  KvShape shape;
  std::int64_t tokens;
};

Request request_of(std::span<const std::uint8_t> bytes) {
  constexpr const char* codecs[] = {"none+lossless", "none+turboquant:1", "none+turboquant:3", "none+turboquant:5",
                                    "none+turboquant:4,keys=unrotated"};
  constexpr std::int64_t dims[] = {4, 7, 16, 20, 64, 80, 128};
  constexpr DType dtypes[] = {DType::bf16, DType::f16, DType::f32};
  KvShape shape;
  shape.layers = 1;
  shape.kv_heads = 1 + bytes[1] % 3;
  shape.head_dim = dims[bytes[2] % std::size(dims)];
  shape.dtype = dtypes[bytes[1] / 3 % 3];
  shape.rope.dim = shape.head_dim / 2 * 2;
  return {codecs[bytes[0] % std::size(codecs)], shape, 1 + bytes[3] % 40};
}

/// The kernel for a request; null if there is none. To fit TurboQuant's centroids takes longer than to decode.
codec::KernelOwner<Space>* owner_for(const Request& request) {
  const Space& on = space();  // ends after what is kept here
  static std::map<std::string, std::unique_ptr<codec::KernelOwner<Space>>> known;
  const auto [found, is_new] = known.try_emplace(request.codec + request.shape.describe());
  if (is_new) {
    auto owner = codec::KernelOwner<Space>::create(on, *Codec::parse(request.codec), request.shape);
    if (owner) found->second = std::make_unique<codec::KernelOwner<Space>>(std::move(*owner));
  }
  return found->second.get();
}

struct Outcome {
  bool whole;
  std::vector<std::byte> values;
};

/// Decodes the payload as keys and values, a task each.
template <class Decode>
std::vector<Outcome> decode(const Request& request, std::span<const std::byte> payload, const Decode& run) {
  const KvShape& shape = request.shape;
  const codec::Subblock subblock{shape.kv_heads, request.tokens, shape.head_dim, shape.dtype, true, 0};
  const auto bytes = static_cast<std::size_t>(subblock.values()) * size_of(shape.dtype);
  std::vector<Outcome> outcomes(2, {false, std::vector<std::byte>(bytes)});
  const auto exact = std::make_unique<std::byte[]>(payload.size());  // of its own size, for sanitizers
  if (!payload.empty()) std::memcpy(exact.get(), payload.data(), payload.size());
  codec::Tasks<Space> tasks;
  tasks.reserve("seqkv::test::tasks", 2);
  for (std::int64_t i = 0; i < 2; ++i) {
    tasks[i] = {subblock,
                static_cast<std::uint64_t>(i),
                outcomes[i].values.data(),
                exact.get(),
                static_cast<std::int64_t>(payload.size()),
                false};
    tasks[i].subblock.is_key = i == 0;
  }
  run(subblock, tasks);
  for (std::int64_t i = 0; i < 2; ++i) outcomes[i].whole = tasks[i].bytes != codec::not_codable;
  return outcomes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 4) return 0;
  const Request request = request_of({data, size});
  const auto payload = std::as_bytes(std::span(data, size)).subspan(4);
  codec::KernelOwner<Space>* const owner = owner_for(request);
  if (owner == nullptr) return 0;
  owner->set_positions(space(), 0, request.tokens);
  std::visit(
      [&](const auto& kernel) {
        const auto expected = decode(request, payload, [&](const auto& largest, const auto& tasks) {
          codec::decode_tasks_portably(space(), kernel, largest, tasks, 2);
        });
        for (const char* name : {"avx2", "avx512"}) {
          const cpu::Kernels* kernels = cpu::kernels(name);
          if (kernels == nullptr) continue;
          bool has_kernel = true;
          const auto outcomes = decode(request, payload, [&](const auto& largest, const auto& tasks) {
            has_kernel = cpu::decode(*kernels, space(), kernel, largest, tasks.host(), 2);
          });
          for (std::size_t i = 0; has_kernel && i < outcomes.size(); ++i) {
            if (outcomes[i].whole != expected[i].whole) __builtin_trap();
            if (outcomes[i].whole && outcomes[i].values != expected[i].values) __builtin_trap();
          }
        }
      },
      owner->kernel());
  return 0;
}
