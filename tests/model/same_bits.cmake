# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
#
# Runs PROGRAM (run_hash.cpp) as a process of its own for every kind of kernels and for one and two threads; all must
# print the same hash. A kind that this machine does not have is named and left out.

set(expected "")
foreach(kernels IN ITEMS portable avx2 avx512)
  foreach(threads IN ITEMS 1 2)
    execute_process(
      COMMAND ${CMAKE_COMMAND} -E env SEQKV_CPU=${kernels} OMP_NUM_THREADS=${threads} ${PROGRAM}
      OUTPUT_VARIABLE output RESULT_VARIABLE status)
    if(NOT status EQUAL 0 OR NOT output MATCHES "^([a-z0-9]+) ([0-9]+) ([0-9a-f]+)$")
      message(FATAL_ERROR "${kernels}, ${threads} threads: exit ${status}, printed '${output}'")
    endif()
    set(used ${CMAKE_MATCH_1})
    set(hash ${CMAKE_MATCH_3})
    if(NOT used STREQUAL kernels)
      if(kernels STREQUAL "portable")
        message(FATAL_ERROR "SEQKV_CPU=portable ran the kernels of ${used}")
      endif()
      message("this machine has no ${kernels}: not compared")
      break()
    endif()
    if(OPENMP AND NOT CMAKE_MATCH_2 EQUAL threads)
      message(FATAL_ERROR "OMP_NUM_THREADS=${threads} ran ${CMAKE_MATCH_2} threads")
    endif()
    message("${kernels}, ${threads} threads: ${hash}")
    if(expected STREQUAL "")
      set(expected ${hash})
    elseif(NOT hash STREQUAL expected)
      message(FATAL_ERROR "the bits differ from those of the portable kernels on one thread")
    endif()
  endforeach()
endforeach()
