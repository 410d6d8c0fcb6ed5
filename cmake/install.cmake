# What `cmake --install` puts where. The tree can be moved: nothing in it names the prefix.
#   include/millrace/                   the public headers
#   lib/libmillrace.so*                 the library
#   lib/millrace/apps/NAME.so           the apps (apps/CMakeLists.txt)
#   lib/cmake/millrace/                 find_package(millrace) -> millrace::millrace, millrace_row_kernel()
#   lib/pkgconfig/millrace.pc           pkg-config millrace
#   share/modulefiles/millrace/VERSION  for Environment Modules and Lmod
#   bin/millrace, share/man/, share/bash-completion/    (cli/CMakeLists.txt)
include(CMakePackageConfigHelpers)

install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/millrace DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
    FILES_MATCHING PATTERN "*.h")
install(TARGETS millrace millrace_headers EXPORT millrace_targets
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/millrace)
install(EXPORT millrace_targets NAMESPACE millrace:: DESTINATION ${package_dir})
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/millrace-config.cmake.in
    ${PROJECT_BINARY_DIR}/generated/millrace-config.cmake INSTALL_DESTINATION ${package_dir}
    PATH_VARS CMAKE_INSTALL_LIBDIR)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/generated/millrace-config-version.cmake
    COMPATIBILITY SameMinorVersion)
install(FILES
    ${PROJECT_BINARY_DIR}/generated/millrace-config.cmake
    ${PROJECT_BINARY_DIR}/generated/millrace-config-version.cmake
    ${PROJECT_SOURCE_DIR}/cmake/row_kernels.cmake
    DESTINATION ${package_dir})

file(RELATIVE_PATH to_prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(${PROJECT_SOURCE_DIR}/cmake/millrace.pc.in ${PROJECT_BINARY_DIR}/generated/millrace.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/generated/millrace.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

set(modules_dir ${CMAKE_INSTALL_DATADIR}/modulefiles/millrace)
file(RELATIVE_PATH to_root /${modules_dir} /)
configure_file(${PROJECT_SOURCE_DIR}/cmake/modulefile.in ${PROJECT_BINARY_DIR}/generated/modulefile @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/generated/modulefile DESTINATION ${modules_dir} RENAME ${PROJECT_VERSION})
