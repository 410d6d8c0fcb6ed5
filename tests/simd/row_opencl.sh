#!/bin/sh
# row_opencl.sh SOURCE_DIR: row.h is OpenCL C 1.2 as well: clang compiles row_words.cl for each lane count, warnings as
# errors. Exit status 77 (skipped) without clang.
set -eu
command -v clang >/dev/null || {
    echo "skipped: no clang (Debian package clang)"
    exit 77
}
for lanes in 1 2 4 8 16; do
    clang -x cl -cl-std=CL1.2 --target=spir64 -Xclang -finclude-default-header -fsyntax-only -Wall -Wextra -Werror \
        -DMR_LANES=$lanes -I"$1/include" "$1/tests/simd/row_words.cl"
done
