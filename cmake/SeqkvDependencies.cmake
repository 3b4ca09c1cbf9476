# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
#
# Everything seqkv is built on. Read by the build and, but for Kokkos' device checks, by seqkvConfig.cmake.

# The version is named on purpose: Debian's Trilinos installs a Kokkos 3.4 that must not be picked up.
find_package(Kokkos 4.4...<6 REQUIRED CONFIG)
# Each way: a device of Kokkos that the build does not know of would get its kernels without the flags that keep
# them bit-identical (SeqkvTargets.cmake).
foreach(backend IN ITEMS CUDA HIP)
  if(SEQKV_ENABLE_${backend})
    kokkos_check(DEVICES ${backend})
  elseif(${backend} IN_LIST Kokkos_DEVICES)
    message(FATAL_ERROR "This Kokkos (${Kokkos_DIR}) has ${backend}: configure with -DSEQKV_ENABLE_${backend}=ON, "
                        "or give a Kokkos without it.")
  endif()
endforeach()

# Kernels of CUDA builds that capture Views of the mdspan kind do nothing, or write anywhere
# (docs/decisions/kokkos-source.md).
if(SEQKV_ENABLE_CUDA AND NOT "IMPL_VIEW_LEGACY" IN_LIST Kokkos_OPTIONS AND Kokkos_VERSION VERSION_GREATER_EQUAL 4.6
   AND NOT SEQKV_TRUST_KOKKOS_VIEWS)
  message(FATAL_ERROR "This Kokkos (${Kokkos_DIR}, ${Kokkos_VERSION}) has the mdspan-based View, which nvcc 12.9 and 13 "
                      "compile wrongly. Build it with -DKokkos_ENABLE_IMPL_VIEW_LEGACY=ON, or, if its own tests pass on "
                      "your GPU, configure with -DSEQKV_TRUST_KOKKOS_VIEWS=ON.")
endif()

if(SEQKV_ENABLE_TBB)
  find_package(TBB 2021 REQUIRED)
endif()
if(SEQKV_ENABLE_MPI)
  set(MPI_CXX_SKIP_MPICXX ON) # the C++ bindings that MPI 3.0 removed
  find_package(MPI 3.1 REQUIRED COMPONENTS CXX)
endif()
find_package(Threads REQUIRED)
find_package(nlohmann_json 3.9 REQUIRED)
find_package(fmt 8 REQUIRED)
find_package(OpenSSL 1.1.1 REQUIRED COMPONENTS Crypto)
find_package(SQLite3 3.24 REQUIRED)
find_package(LibLZMA REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(seqkv_zstd REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(seqkv_pcre2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(seqkv_utf8proc REQUIRED IMPORTED_TARGET libutf8proc)
# XXH3 is taken from the header alone, from 0.8.0 on, where its output became final.
pkg_check_modules(seqkv_xxhash REQUIRED IMPORTED_TARGET libxxhash>=0.8.0)
