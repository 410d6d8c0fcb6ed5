#!/bin/sh
# neon_cross.sh SOURCE_DIR WORK_DIR: builds the vector kernels for AArch64 with Debian's cross-compiler and, where it is
# installed, with clang, warnings as errors, and runs neon_check under qemu-user. Exit status 77 (skipped) without the
# cross-compiler, whose linker and C library clang takes; without the emulator the build alone is the test.
set -eu
source=$1
work=$2

command -v aarch64-linux-gnu-gcc >/dev/null || {
    echo "skipped: no aarch64-linux-gnu-gcc (Debian package gcc-aarch64-linux-gnu)"
    exit 77
}
mkdir -p "$work"
cd "$work"
common="-std=gnu11 -O3 -D_GNU_SOURCE -Wall -Wextra -Wno-unused-parameter -Werror
    -I$source/include -I$source/base -I$source/simd -I$source/tests/simd"
rows="-ffp-contract=off -fno-math-errno -fno-trapping-math -Wno-psabi"

compile() {             # compile OBJECT SOURCE FLAGS...
    object=$1
    shift
    $cc $common "$@" -c -o "$object.o"
    objects="$objects $object.o"
}
check() {               # check COMPILER
    cc=$1
    objects=""
    for file in level kernels span_refill key_masks patterns tokenise_scalar tokenise_neon transpose_scalar \
        patterns_scalar patterns_neon count_bytes count_bytes_scalar; do
        compile $file "$source/simd/$file.c"
    done
    compile status "$source/base/status.c"
    for file in rows_row rows64_row rows8_row narrow_row; do
        for level in scalar neon; do
            compile ${file}_$level "$source/tests/simd/$file.c" $rows -DMR_ROW_LEVEL=$level
        done
    done
    $cc $common -static -o neon_check "$source/tests/simd/neon_check.c" $objects
    if command -v qemu-aarch64-static >/dev/null; then
        qemu-aarch64-static ./neon_check
    else
        echo "built; not run: no qemu-aarch64-static (Debian package qemu-user-static)"
    fi
}

check aarch64-linux-gnu-gcc
if command -v clang >/dev/null; then
    check "clang --target=aarch64-linux-gnu"
else
    echo "not built by clang: it is not installed (Debian package clang)"
fi
