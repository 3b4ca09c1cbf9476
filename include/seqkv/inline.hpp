// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// SEQKV_INLINE: functions that run on host and device and are always inlined. Not Kokkos' macro, because it is
/// also used in translation units that do not include Kokkos (backends/cpu).
#pragma once

#if defined(__CUDACC__) || defined(__HIP__)
#define SEQKV_INLINE __host__ __device__ inline __attribute__((always_inline))
#else
#define SEQKV_INLINE inline __attribute__((always_inline))
#endif

/// In front of a loop of at most 8 rounds, a constant number: written out, so that its arrays live in registers.
#if defined(__CUDACC__) || defined(__HIP__)
#define SEQKV_UNROLL _Pragma("unroll")
#else
#define SEQKV_UNROLL _Pragma("GCC unroll 8")
#endif
