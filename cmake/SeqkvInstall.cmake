# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
#
# `cmake --install`: library, headers, program, the embedded model, and the CMake package
# find_package(seqkv) -> seqkv::seqkv.

include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/seqkv)

install(TARGETS seqkv_library EXPORT seqkvTargets)
if(SEQKV_ENABLE_MPI)
  install(TARGETS seqkv_mpi EXPORT seqkvTargets)
endif()
install(TARGETS seqkv)
install(DIRECTORY include/seqkv DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.hpp"
        PATTERN "*.h")
install(DIRECTORY models DESTINATION ${CMAKE_INSTALL_DATADIR}/seqkv)
install(DIRECTORY slurm DESTINATION ${CMAKE_INSTALL_DATADIR}/seqkv USE_SOURCE_PERMISSIONS)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})

install(EXPORT seqkvTargets NAMESPACE seqkv:: DESTINATION ${package_dir})
configure_package_config_file(cmake/seqkvConfig.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/seqkvConfig.cmake
                              INSTALL_DESTINATION ${package_dir})
# Below 1.0 a minor version may change the interface.
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/seqkvConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/seqkvConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/seqkvConfigVersion.cmake
              cmake/SeqkvDependencies.cmake
        DESTINATION ${package_dir})
