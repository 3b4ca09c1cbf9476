// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The execution spaces of this build, for explicit instantiation of templates.
#pragma once

#include <Kokkos_Core.hpp>

#if defined(KOKKOS_ENABLE_SERIAL)
#define SEQKV_IF_SERIAL(X) X(Kokkos::Serial)
#else
#define SEQKV_IF_SERIAL(X)
#endif
#if defined(KOKKOS_ENABLE_OPENMP)
#define SEQKV_IF_OPENMP(X) X(Kokkos::OpenMP)
#else
#define SEQKV_IF_OPENMP(X)
#endif
#if defined(KOKKOS_ENABLE_THREADS)
#define SEQKV_IF_THREADS(X) X(Kokkos::Threads)
#else
#define SEQKV_IF_THREADS(X)
#endif
#if defined(KOKKOS_ENABLE_CUDA)
#define SEQKV_IF_CUDA(X) X(Kokkos::Cuda)
#else
#define SEQKV_IF_CUDA(X)
#endif
#if defined(KOKKOS_ENABLE_HIP)
#define SEQKV_IF_HIP(X) X(Kokkos::HIP)
#else
#define SEQKV_IF_HIP(X)
#endif

/// Expands X(space) for each of them; X ends its own statement.
#define SEQKV_FOR_EACH_SPACE(X) \
  SEQKV_IF_SERIAL(X) SEQKV_IF_OPENMP(X) SEQKV_IF_THREADS(X) SEQKV_IF_CUDA(X) SEQKV_IF_HIP(X)
