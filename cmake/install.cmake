# What `cmake --install` puts where. The tree can be moved: nothing in it names the prefix.
#   include/millrace/                   the public headers
#   lib/libmillrace.so*                 the library
#   lib/millrace/apps/NAME.so           the apps (apps/CMakeLists.txt)
#   lib/cmake/millrace/                 find_package(millrace) -> millrace::millrace, millrace_row_kernel()
#   lib/pkgconfig/millrace.pc           pkg-config millrace
#   bin/millrace, share/man/, share/bash-completion/
include(CMakePackageConfigHelpers)

install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/millrace DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
    FILES_MATCHING PATTERN "*.h")
install(TARGETS millrace millrace_headers EXPORT millrace_targets
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})

if(TARGET millrace_command)
    file(RELATIVE_PATH to_library /${CMAKE_INSTALL_BINDIR} /${CMAKE_INSTALL_LIBDIR})
    set_target_properties(millrace_command PROPERTIES INSTALL_RPATH "$ORIGIN/${to_library}")
    install(TARGETS millrace_command RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

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

foreach(section 1 3 5 7)
    file(GLOB pages CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/docs/man/*.${section})
    if(pages)
        install(FILES ${pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section})
    endif()
endforeach()
file(GLOB completions CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/cli/completion/*)
if(completions)
    install(FILES ${completions} DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
endif()
