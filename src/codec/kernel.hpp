// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// From a codec's specification to the kernel that runs it.
#pragma once

#include <Kokkos_Core.hpp>
#include <variant>

#include "backends/kokkos/lossless.hpp"
#include "backends/kokkos/turboquant.hpp"
#include "codec/key_angles.hpp"
#include "seqkv/codec.hpp"

namespace seqkv::codec {

/// Stores everything raw.
struct RawKernel {
  KOKKOS_INLINE_FUNCTION std::int64_t size(const Subblock&) const { return 0; }
  std::int64_t scratch_bytes(const Subblock&) const { return 0; }
  template <class Team>
  KOKKOS_FUNCTION std::int64_t encode(const Team&, const Subblock&, std::uint64_t, const std::byte*, std::byte*,
                                      std::byte*) const {
    return not_codable;
  }
  template <class Team>
  KOKKOS_FUNCTION bool decode(const Team&, const Subblock&, std::uint64_t, const std::byte*, std::int64_t, std::byte*,
                              std::byte*) const {
    return false;
  }
};

/// A session that a model replays goes block after block through it, not through kernels. Errors: invalid_argument.
inline Result<void> check_no_model(const Codec& codec) {
  if (!codec.needs_model()) return {};
  return Error(ErrorCode::invalid_argument, codec.spec() + " needs the model");
}

/// A kernel and the tables in device memory that it points to.
template <class ExecutionSpace>
class KernelOwner {
 public:
  using Kernel = std::variant<RawKernel, kokkos::TurboQuant, kokkos::Lossless>;

  /// Errors: invalid_argument (the codec cannot be had for this shape).
  static Result<KernelOwner> create(const ExecutionSpace& space, const Codec& codec, const KvShape& shape);

  /// Positions [first, first + count) are coded or decoded next.
  void set_positions(const ExecutionSpace& space, std::int64_t first, std::int64_t count);

  const Kernel& kernel() const { return kernel_; }

 private:
  using Floats = Kokkos::View<float*, typename ExecutionSpace::memory_space>;
  Kernel kernel_;
  Floats hartley_;
  KeyAngles<ExecutionSpace> angles_;  ///< where keys are turned
};

}  // namespace seqkv::codec
