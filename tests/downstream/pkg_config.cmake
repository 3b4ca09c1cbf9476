# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
#
# A program in C that knows nothing but `pkg-config seqkv`: built and run against the package installed from BUILD.

include(${CMAKE_CURRENT_LIST_DIR}/run_command.cmake)

file(REMOVE_RECURSE ${WORK})
run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${WORK}/prefix)
file(GLOB_RECURSE pc ${WORK}/prefix/*/seqkv.pc)
get_filename_component(folder "${pc}" DIRECTORY)
set(ENV{PKG_CONFIG_PATH} ${folder})
execute_process(COMMAND pkg-config --cflags --libs seqkv OUTPUT_VARIABLE flags OUTPUT_STRIP_TRAILING_WHITESPACE
                COMMAND_ERROR_IS_FATAL ANY)
separate_arguments(flags UNIX_COMMAND "${flags}")
separate_arguments(options UNIX_COMMAND "${FLAGS}")
run(cc -std=c99 ${options} ${CMAKE_CURRENT_LIST_DIR}/../capi/store.c -o ${WORK}/store ${flags})
set(ENV{LD_LIBRARY_PATH} ${folder}/..:$ENV{LD_LIBRARY_PATH})
file(MAKE_DIRECTORY ${WORK}/folder)
run(${CMAKE_COMMAND} -E chdir ${WORK}/folder ${WORK}/store)
