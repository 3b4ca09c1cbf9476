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

# For programs in C, and builds without CMake. What a static library needs its users must link, Kokkos among it.
get_filename_component(kokkos_lib "${Kokkos_DIR}/../.." ABSOLUTE)
set(seqkv_pc_libs "-L${kokkos_lib} -lkokkoscontainers -lkokkosalgorithms -lkokkossimd -lkokkoscore -lstdc++ -lm -ldl -lpthread")
if(Kokkos_ENABLE_OPENMP)
  string(APPEND seqkv_pc_libs " -fopenmp")
endif()
if(SEQKV_ENABLE_TBB)
  string(APPEND seqkv_pc_libs " -ltbb")
endif()
set(seqkv_pc_requires Requires)
if(BUILD_SHARED_LIBS)
  set(seqkv_pc_libs "")
  set(seqkv_pc_requires Requires.private)
endif()
# The prefix is known when it is installed.
install(CODE "set(CMAKE_INSTALL_LIBDIR \"${CMAKE_INSTALL_LIBDIR}\")
set(CMAKE_INSTALL_INCLUDEDIR \"${CMAKE_INSTALL_INCLUDEDIR}\")
set(PROJECT_DESCRIPTION \"${PROJECT_DESCRIPTION}\")
set(PROJECT_VERSION \"${PROJECT_VERSION}\")
set(seqkv_pc_libs \"${seqkv_pc_libs}\")
set(seqkv_pc_requires \"${seqkv_pc_requires}\")
configure_file(\"${CMAKE_CURRENT_SOURCE_DIR}/cmake/seqkv.pc.in\" \"${CMAKE_CURRENT_BINARY_DIR}/seqkv.pc\" @ONLY)")
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/seqkv.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
