// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Typed tests over the execution spaces of the build:
///   template <class Space> class Name : public testing::Test {};
///   TYPED_TEST_SUITE(Name, seqkv::test::Spaces);
#pragma once

#include <gtest/gtest.h>

#include <Kokkos_Core.hpp>

namespace seqkv::test {

using Spaces = testing::Types<
#if defined(KOKKOS_ENABLE_CUDA)
    Kokkos::Cuda,
#endif
#if defined(KOKKOS_ENABLE_HIP)
    Kokkos::HIP,
#endif
#if defined(KOKKOS_ENABLE_OPENMP)
    Kokkos::OpenMP,
#endif
    Kokkos::Serial>;

}  // namespace seqkv::test
