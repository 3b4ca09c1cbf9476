// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "codec/kernel.hpp"

#include <fmt/format.h>

#include <cmath>

#include "codec/quantize/lloyd_max.hpp"
#include "codec/transform/hartley.hpp"
#include "core/execution_spaces.hpp"
#include "core/try.hpp"

namespace seqkv::codec {
namespace {

/// Format constant: the stream of random signs (spec.md).
constexpr std::uint64_t turboquant_seed = 0x7365716b76ULL;  // "seqkv"

template <class ExecutionSpace>
Kokkos::View<float*, typename ExecutionSpace::memory_space> upload(const ExecutionSpace& space,
                                                                   const std::string& label,
                                                                   const std::vector<float>& values) {
  Kokkos::View<float*, typename ExecutionSpace::memory_space> out(
      Kokkos::view_alloc(space, Kokkos::WithoutInitializing, label), values.size());
  Kokkos::deep_copy(
      space, out, Kokkos::View<const float*, Kokkos::HostSpace, Kokkos::MemoryUnmanaged>(values.data(), values.size()));
  space.fence("seqkv::codec::upload: the host copy is local");
  return out;
}

kokkos::TurboQuant make_turboquant(const TurboQuantSpec& spec, std::int64_t dim) {
  kokkos::TurboQuant kernel;
  kernel.bits = spec.bits;
  const std::vector<double> centroids = lloyd_max_centroids(spec.bits, dim);
  for (std::size_t k = 0; k < centroids.size(); ++k) kernel.centroids[k] = static_cast<float>(centroids[k]);
  for (std::size_t k = 0; k + 1 < centroids.size(); ++k) {
    kernel.thresholds[k] = static_cast<float>(0.5 * (centroids[k] + centroids[k + 1]));
  }
  kernel.rotation.dim = dim;
  kernel.rotation.power = dim & -dim;
  kernel.rotation.odd = dim / kernel.rotation.power;
  kernel.rotation.scale = 1.0F / std::sqrt(static_cast<float>(kernel.rotation.power));
  kernel.rotation.seed = turboquant_seed;
  return kernel;
}

}  // namespace

template <class ExecutionSpace>
Result<KernelOwner<ExecutionSpace>> KernelOwner<ExecutionSpace>::create(const ExecutionSpace& space, const Codec& codec,
                                                                        const KvShape& shape) {
  KernelOwner owner;
  if (std::holds_alternative<LosslessSpec>(codec.quantizer())) owner.kernel_ = kokkos::Lossless{};
  if (const auto* spec = std::get_if<TurboQuantSpec>(&codec.quantizer())) {
    if (shape.head_dim < 4) {
      return Error(ErrorCode::invalid_argument,
                   fmt::format("turboquant needs a head_dim of at least 4, this cache has {}", shape.head_dim));
    }
    kokkos::TurboQuant kernel = make_turboquant(*spec, shape.head_dim);
    if (kernel.rotation.odd > 1) {
      owner.hartley_ = upload(space, "seqkv::codec::hartley", hartley_matrix(kernel.rotation.odd));
      kernel.rotation.hartley = owner.hartley_.data();
    }
    if (spec->unrotated_keys) {
      if (shape.rope.dim == 0) {
        return Error(ErrorCode::invalid_argument, "keys=unrotated needs a cache whose rotary embedding is known");
      }
      owner.angles_ = KeyAngles<ExecutionSpace>(space, shape.rope);
      kernel.rope_pairs = owner.angles_.pairs();
    }
    owner.kernel_ = kernel;
  }
  return owner;
}

template <class ExecutionSpace>
void KernelOwner<ExecutionSpace>::set_positions(const ExecutionSpace& space, std::int64_t first, std::int64_t count) {
  if (angles_.pairs() == 0) return;
  angles_.set_positions(space, first, count);
  auto& kernel = std::get<kokkos::TurboQuant>(kernel_);
  kernel.cosine = angles_.cosine();
  kernel.sine = angles_.sine();
}

#define SEQKV_INSTANTIATE(Space) template class KernelOwner<Space>;
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)
#undef SEQKV_INSTANTIATE

}  // namespace seqkv::codec
