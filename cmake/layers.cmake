# One target per layer (DESIGN 3). A layer sees the headers of the layers that it names, and no others; closed_<layer>
# links the whole layer with just these, so that a call upwards does not link.
#   millrace_layer(simd SOURCES a.c b.c USES base LIBRARIES PkgConfig::xxhash)
function(millrace_layer name)
    cmake_parse_arguments(LAYER "" "" "SOURCES;USES;LIBRARIES" ${ARGN})
    add_library(mr_${name} STATIC ${LAYER_SOURCES})
    target_include_directories(mr_${name} PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})
    list(TRANSFORM LAYER_USES PREPEND mr_)
    target_link_libraries(mr_${name} PUBLIC millrace_headers ${LAYER_USES} PRIVATE millrace_flags ${LAYER_LIBRARIES})
    add_executable(closed_${name} ${PROJECT_SOURCE_DIR}/cmake/empty_main.c)
    target_link_libraries(closed_${name} PRIVATE $<LINK_LIBRARY:WHOLE_ARCHIVE,mr_${name}>)
    set_target_properties(closed_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/closed)
endfunction()

add_library(millrace_headers INTERFACE)
target_include_directories(millrace_headers INTERFACE
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)

add_library(millrace_flags INTERFACE)
target_compile_definitions(millrace_flags INTERFACE _GNU_SOURCE)
target_compile_options(millrace_flags INTERFACE
    -Wall -Wextra -Wshadow -Wpointer-arith -Wstrict-prototypes -Wno-unused-parameter
    $<$<BOOL:${MILLRACE_WERROR}>:-Werror>)
