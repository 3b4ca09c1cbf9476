# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
#
# Builds and runs the downstream project in WORK: against the package installed from BUILD, or, if SOURCE is given, with
# the sources of seqkv as a subdirectory. CMAKE_OPTIONS go to the configuration.

include(${CMAKE_CURRENT_LIST_DIR}/run_command.cmake)

file(REMOVE_RECURSE ${WORK})
if(SOURCE)
  list(APPEND CMAKE_OPTIONS -DSEQKV_SOURCE=${SOURCE})
else()
  run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${WORK}/prefix)
  list(APPEND CMAKE_OPTIONS -DCMAKE_PREFIX_PATH=${WORK}/prefix)
endif()
run(${CMAKE_COMMAND} -S ${CMAKE_CURRENT_LIST_DIR} -B ${WORK}/build -G Ninja ${CMAKE_OPTIONS})
run(${CMAKE_COMMAND} --build ${WORK}/build --target downstream)
run(${WORK}/build/downstream)
if(NOT SOURCE)
  run(${WORK}/prefix/bin/seqkv info)
endif()
