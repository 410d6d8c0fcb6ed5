# libmillrace: all layers in one shared library; only what the public headers mark MR_API is visible.
file(WRITE ${PROJECT_BINARY_DIR}/generated/empty.c "typedef int mr__empty;\n")
add_library(millrace SHARED ${PROJECT_BINARY_DIR}/generated/empty.c)
target_link_libraries(millrace PUBLIC millrace_headers PRIVATE
    $<LINK_LIBRARY:WHOLE_ARCHIVE,mr_engine,mr_workers,mr_net,mr_storage,mr_simd,mr_base>)
# the layers name each other as plain libraries; here each is linked whole
set_property(TARGET millrace PROPERTY
    LINK_LIBRARY_OVERRIDE "WHOLE_ARCHIVE,mr_engine,mr_workers,mr_net,mr_storage,mr_simd,mr_base")
set_target_properties(millrace PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR})
target_link_options(millrace PRIVATE -Wl,--no-undefined)
add_library(millrace::millrace ALIAS millrace)
