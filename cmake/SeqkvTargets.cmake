# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
#
# What every target of seqkv is compiled with.

add_library(seqkv_options INTERFACE)
target_compile_features(seqkv_options INTERFACE cxx_std_20)
# Bit-identical results (docs/decisions/determinism.md): a product and a sum are two roundings unless the source
# says fma. nvcc contracts on the device unless told otherwise; hipcc by default does on both sides.
target_compile_options(seqkv_options INTERFACE -ffp-contract=off)
if(SEQKV_ENABLE_CUDA)
  target_compile_options(seqkv_options INTERFACE --fmad=false --expt-relaxed-constexpr)
else()
  target_compile_options(seqkv_options INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wno-unknown-pragmas)
  if(SEQKV_ENABLE_WERROR)
    target_compile_options(seqkv_options INTERFACE -Werror)
  endif()
endif()

# Marks sources that are plain C++ in every build. Kokkos hands every source of a HIP build to the compiler as HIP;
# clang 15 (Debian's hipcc) crashes on some of the standard library that way.
function(seqkv_plain_cxx)
  if(SEQKV_ENABLE_HIP)
    set_property(SOURCE ${ARGN} APPEND PROPERTY COMPILE_OPTIONS -x c++)
  endif()
endfunction()
