# Kernels of apps. Installed with the package: keep it free of this tree.
#
# Row kernels (millrace/row.h): one source file, compiled once per vector level of the architecture.
#   millrace_row_kernel(<target> <row file>)
# adds the objects to the target, and the file's text as <kernel>_source for each MR_ROW_KERNEL(<kernel>, ...) in it.
# Contraction is off, so that every level gives the same bits. Without -O3 GCC leaves most loops as they are: pi takes
# 4.4 times as long with -O2.
#
# Block kernels (millrace/text_opencl.h, device_opencl.h): OpenCL C.
#   millrace_kernel(<target> <name>.cl)
# adds the file's text to the target as `const char <name>_cl[]`, for the descriptor's .kernel.

set(MILLRACE_ROW_FLAGS -ffp-contract=off -fno-math-errno -fno-trapping-math -Wno-psabi $<$<NOT:$<CONFIG:Debug>>:-O3>)
set(MILLRACE_ROW_FLAGS_scalar -fno-tree-vectorize)
set(MILLRACE_ROW_FLAGS_sse2 "")
set(MILLRACE_ROW_FLAGS_avx2 -mavx2 -mbmi -mbmi2)
set(MILLRACE_ROW_FLAGS_avx512 ${MILLRACE_ROW_FLAGS_avx2}
    -mavx512f -mavx512bw -mavx512vl -mavx512dq -mprefer-vector-width=512
    $<$<CONFIG:Debug>:-O1>)         # GCC 12 fails on some of them without optimisation ("unrecognizable insn")
set(MILLRACE_ROW_FLAGS_neon "")

# The text of a row file, with the files that it includes by "name" in their places: devices get one piece.
function(_millrace_row_text file result)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
    file(READ ${file} rest)
    get_filename_component(folder ${file} DIRECTORY)
    set(text "")
    while(rest MATCHES "(^|\n)[ \t]*#[ \t]*include[ \t]*\"([^\"\n]+)\"[^\n]*")
        set(directive "${CMAKE_MATCH_0}")
        set(included ${folder}/${CMAKE_MATCH_2})
        string(FIND "${rest}" "${directive}" at)
        string(LENGTH "${directive}" length)
        string(SUBSTRING "${rest}" 0 ${at} before)
        math(EXPR behind "${at} + ${length}")
        string(SUBSTRING "${rest}" ${behind} -1 rest)
        _millrace_row_text(${included} inner)
        string(APPEND text "${before}\n${inner}")
    endwhile()
    set(${result} "${text}${rest}" PARENT_SCOPE)
endfunction()

# text as a C string of the name symbol.
function(_millrace_string symbol text result)
    string(REPLACE "\\" "\\\\" text "${text}")
    string(REPLACE "\"" "\\\"" text "${text}")
    string(REPLACE "\n" "\\n\"\n    \"" text "${text}")
    set(${result} "extern const char ${symbol}[];\nconst char ${symbol}[] =\n    \"${text}\";\n" PARENT_SCOPE)
endfunction()

# A generated C file is only written when it changes: what depends on it is not built again.
function(_millrace_write_source target output code)
    set(old "")
    if(EXISTS ${output})
        file(READ ${output} old)
    endif()
    if(NOT old STREQUAL code)
        file(WRITE ${output} "${code}")
    endif()
    set_source_files_properties(${output} PROPERTIES COMPILE_OPTIONS -Wno-overlength-strings)
    target_sources(${target} PRIVATE ${output})
endfunction()

# The text for each kernel of a row file; the entry point that a device calls is the one of this kernel.
function(_millrace_row_source target file output)
    _millrace_row_text(${file} text)
    string(REGEX MATCHALL "MR_ROW_KERNEL\\([ \t]*[A-Za-z_0-9]+" kernels "${text}")
    if(NOT kernels)
        message(FATAL_ERROR "${file} has no MR_ROW_KERNEL(name, params)")
    endif()
    set(code "/* Generated from a row file: its text, for devices. */\n")
    foreach(kernel ${kernels})
        string(REGEX REPLACE "MR_ROW_KERNEL\\([ \t]*" "" kernel "${kernel}")
        _millrace_string(${kernel}_source "#define MR__ENTRY_${kernel} mr_rows\n${text}" string)
        string(APPEND code "${string}")
    endforeach()
    _millrace_write_source(${target} ${output} "${code}")
endfunction()

function(millrace_kernel target file)
    get_filename_component(file ${file} ABSOLUTE)
    get_filename_component(base ${file} NAME_WE)
    _millrace_row_text(${file} text)
    _millrace_string(${base}_cl "${text}" code)
    _millrace_write_source(${target} ${CMAKE_CURRENT_BINARY_DIR}/${target}_${base}_cl.c "${code}")
endfunction()

function(millrace_row_kernel target file)
    get_filename_component(file ${file} ABSOLUTE)
    get_filename_component(base ${file} NAME_WE)
    set(levels scalar)
    if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
        list(APPEND levels sse2 avx2 avx512)
    elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
        list(APPEND levels neon)
    endif()
    foreach(level ${levels})
        set(objects ${target}_${base}_${level})
        add_library(${objects} OBJECT ${file})
        set_target_properties(${objects} PROPERTIES
            POSITION_INDEPENDENT_CODE ON C_STANDARD 11 C_EXTENSIONS ON C_VISIBILITY_PRESET hidden)
        target_compile_definitions(${objects} PRIVATE MR_ROW_LEVEL=${level})
        target_compile_options(${objects} PRIVATE ${MILLRACE_ROW_FLAGS} ${MILLRACE_ROW_FLAGS_${level}})
        if(TARGET millrace_headers)
            target_link_libraries(${objects} PRIVATE millrace_headers millrace_flags)
        else()
            target_link_libraries(${objects} PRIVATE millrace::millrace)
        endif()
        target_sources(${target} PRIVATE $<TARGET_OBJECTS:${objects}>)
    endforeach()
    _millrace_row_source(${target} ${file} ${CMAKE_CURRENT_BINARY_DIR}/${target}_${base}_source.c)
endfunction()
