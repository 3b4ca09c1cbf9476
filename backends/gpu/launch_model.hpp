// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The kernels of the forward pass for GPUs.
#pragma once

#include "backends/gpu/attention.hpp"
#include "backends/gpu/gemm.hpp"
#include "backends/gpu/norm.hpp"
#include "backends/gpu/rope.hpp"
#include "backends/kokkos/activation.hpp"

namespace seqkv::gpu {

using kokkos::gated_activation;  // a thread an element

}  // namespace seqkv::gpu
