# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
#
# What every target of seqkv is compiled with.

add_library(seqkv_options INTERFACE)
target_compile_features(seqkv_options INTERFACE cxx_std_20)
# Bit-identical results (docs/decisions/determinism.md): a product and a sum are two roundings unless the source
# says fma. hipcc contracts on both sides unless told otherwise.
target_compile_options(seqkv_options INTERFACE -ffp-contract=off)
set(warnings -Wall -Wextra -Wpedantic -Wshadow -Wno-unknown-pragmas)
if(CMAKE_UNITY_BUILD AND CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  # A source that is compiled with others is a header to GCC, and what it has for itself is not. The others are wrong about
  # std::string where much is inlined (GCC bug 105651).
  list(APPEND warnings -Wno-subobject-linkage -Wno-restrict -Wno-stringop-overflow)
endif()
if(SEQKV_ENABLE_WERROR)
  list(APPEND warnings -Werror)
endif()
if(SEQKV_ENABLE_CUDA)
  # Targets that link to Kokkos are compiled by nvcc, which contracts too; the others by the host compiler.
  set(by_nvcc $<BOOL:$<FILTER:$<TARGET_PROPERTY:LINK_LIBRARIES>,INCLUDE,Kokkos|seqkv::seqkv|seqkv::mpi>>)
  target_compile_options(seqkv_options INTERFACE $<IF:${by_nvcc},--fmad=false;--expt-relaxed-constexpr,${warnings}>)
  # fmt 9 checks format strings at compile time with functions that it does not make constexpr for nvcc, unless told.
  target_compile_definitions(seqkv_options INTERFACE $<${by_nvcc}:FMT_USE_CONSTEXPR=1>)
else()
  target_compile_options(seqkv_options INTERFACE ${warnings})
endif()

# Marks a target as plain C++ in HIP builds, where hipcc takes every source for HIP; clang 15 (Debian's hipcc) crashes
# on some of the standard library that way.
function(seqkv_plain_cxx target)
  if(SEQKV_ENABLE_HIP)
    target_compile_options(${target} PRIVATE -x c++)
  endif()
endfunction()
