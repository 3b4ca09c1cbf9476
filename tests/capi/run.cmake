# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors

# Runs PROGRAM in FOLDER, which is emptied before.
file(REMOVE_RECURSE ${FOLDER})
file(MAKE_DIRECTORY ${FOLDER})
execute_process(COMMAND ${PROGRAM} WORKING_DIRECTORY ${FOLDER} RESULT_VARIABLE status)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "${PROGRAM}: ${status}")
endif()
