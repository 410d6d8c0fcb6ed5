#!/usr/bin/env bash
# out_of_tree.sh CMAKE BUILD APP EXAMPLE APPS CC LIBDIR: an app that lives outside of the tree is built against an
# installed Millrace, by the CMake package and by pkg-config, and run both as a program and by the installed command.
# Oracle: awk and od count the same. Of the floating sums of APPS: what the installed apps say, to the bit, whichever
# compiler CC is. Exit status 77 (skipped) without CC.
set -euo pipefail
cmake=$1 build=$2 app=$3 example=$4 apps=$5 cc=$6 libdir=$7
command -v "$cc" >/dev/null || {
    echo "skipped: no such compiler is installed ($cc)"
    exit 77
}
here=$(mktemp -d "${TMPDIR:-/tmp}/millrace-house-XXXXXX")
trap 'rm -rf "$here"' EXIT
export LC_ALL=C MILLRACE_RECORDS=$here/records MILLRACE_BURST=$here
unset MILLRACE_APPS LD_LIBRARY_PATH

fail() { echo "$1" >&2; exit 1; }
quietly() { "$@" >"$here/log" 2>&1 || { cat "$here/log" >&2; fail "failed: $*"; }; }
same() { diff "$here/expected" "$1" >&2 || fail "$2: wrong result (< expected, > got)"; }

for i in 1 2 3; do cat "$app"/*.c; done >"$here/text"
awk '{ for (i = 1; i <= NF; i++) n[length($i)]++ } END { for (l in n) print l "\t" n[l] }' "$here/text" |
    sort -n >"$here/expected.lengths"
head -c 40000 "$build/lib/libmillrace.so" >"$here/numbers"
od -An -v -t u1 -w4 "$here/numbers" | awk '{ n[$1 % 8]++ } END { for (b in n) print b "\t" n[b] }' |
    sort -n >"$here/expected.buckets"

quietly "$cmake" --install "$build" --prefix "$here/first"
for file in include/millrace/millrace.h "$libdir/libmillrace.so" "$libdir/pkgconfig/millrace.pc" \
    "$libdir/cmake/millrace/millrace-config.cmake" "$libdir/millrace/apps/wordcount.so" bin/millrace; do
    [ -e "$here/first/$file" ] || fail "not installed: $file"
done
mv "$here/first" "$here/prefix"         # nothing in it may depend on where it was installed
prefix=$here/prefix
if grep -rIl "$here/first\|$build" "$prefix" >&2; then fail "these files name a folder of the build"; fi

echo "places"
"$prefix/bin/millrace" sbatch wordcount text -o counts --dry-run >"$here/script"
grep -q "^    $prefix/libexec/millrace/millrace-guard $prefix/bin/millrace run " "$here/script" ||
    fail "sbatch names other programs: $(cat "$here/script")"
if command -v tclsh >/dev/null; then        # the modulefile, read by as much of Environment Modules as it needs
    cat >"$here/modules.tcl" <<'EOF'
set ModulesCurrentModulefile [lindex $argv 0]
proc module-whatis args {}
proc conflict args {}
proc prepend-path {name folder} { if {$name eq "PATH"} { puts $folder } }
source $ModulesCurrentModulefile
EOF
    tclsh "$here/modules.tcl" "$prefix"/share/modulefiles/millrace/[0-9]* >"$here/got"
    printf '%s\n' "$prefix/libexec/millrace" "$prefix/bin" >"$here/expected"
    same "$here/got" "modulefile"
else
    echo "no tclsh: the modulefile is not read"
fi

echo "CMake package"
options=(-DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_C_COMPILER="$cc" -DCMAKE_BUILD_TYPE=Release
    -DCMAKE_C_FLAGS="-Wall -Wextra -Wno-unused-parameter -Werror")
quietly "$cmake" -G Ninja -S "$app" -B "$here/cmake" "${options[@]}" -DAPPS="$apps"
quietly "$cmake" --build "$here/cmake"
quietly "$cmake" -G Ninja -S "$example" -B "$here/example" "${options[@]}"       # what the guide shows
quietly "$cmake" --build "$here/example"
quietly "$cmake" -G Ninja -S "$example/../devices" -B "$here/devices" "${options[@]}"
quietly "$cmake" --build "$here/devices"
cp "$here/expected.lengths" "$here/expected"
"$here/cmake/lengths" "$here/text" | sort -n >"$here/got"
same "$here/got" "program built by CMake"

echo "pkg-config"
export PKG_CONFIG_PATH=$prefix/$libdir/pkgconfig
read -ra flags < <(pkg-config --cflags --libs millrace)
quietly "$cc" -O2 -Wall -Wextra -Werror -o "$here/lengths" "$app/program.c" "$app/lengths.c" "${flags[@]}" \
    "-Wl,-rpath,$(pkg-config --variable=libdir millrace)"
"$here/lengths" "$here/text" | sort -n >"$here/got"
same "$here/got" "program built by pkg-config"
if command -v mpiexec.mpich >/dev/null && [ -e "$prefix/$libdir/millrace/millrace_mpi.so" ]; then
    MILLRACE_START=60 mpiexec.mpich -n 3 "$here/lengths" "$here/text" | sort -n >"$here/got"
    same "$here/got" "program of three ranks"
else
    echo "no mpiexec.mpich, or no MPI module: the program does not run on ranks"
fi
quietly "$cc" -O2 -Wall -Wextra -Werror -shared -fPIC -o "$here/lengths.so" "$app/lengths.c" "${flags[@]}"

echo "installed command"
for object in "$here/cmake/lengths_app.so" "$here/lengths.so"; do
    quietly "$prefix/bin/millrace" run "$object" "$here/text" -o "$here/out" --sort key
    [ -e "$here/out/_SUCCESS" ] || fail "$object: no _SUCCESS"
    cat "$here"/out/part-* >"$here/got"
    same "$here/got" "$object"
    rm -r "$here/out"
done
cp "$here/expected.buckets" "$here/expected"
for level in scalar best; do
    [ $level = best ] && unset MILLRACE_SIMD || export MILLRACE_SIMD=$level
    quietly "$prefix/bin/millrace" run "$here/cmake/buckets_app.so" "$here/numbers" -o "$here/out" --sort key
    cat "$here"/out/part-* >"$here/got"
    same "$here/got" "row kernel, $level"
    rm -r "$here/out"
done
for dim in 2 3; do
    "$prefix/bin/millrace" generate points --size 300K --dim $dim -o "$here/points$dim"
done
for name in kmeans black_scholes linear_regression; do
    points=$here/points3
    [ $name = linear_regression ] && points=$here/points2
    quietly "$prefix/bin/millrace" run $name "$points" -o "$here/out"
    cat "$here"/out/part-* >"$here/expected"
    [ -s "$here/expected" ] || fail "$name: no result"
    rm -r "$here/out"
    for level in scalar sse2 avx2 avx512 neon; do
        if ! MILLRACE_SIMD=$level "$prefix/bin/millrace" run "$here/cmake/$name.so" "$points" -o "$here/out" \
            >"$here/log" 2>&1; then
            grep -q "lacks that vector level" "$here/log" || fail "$name, $level: $(cat "$here/log")"
            continue
        fi
        cat "$here"/out/part-* >"$here/got"
        same "$here/got" "$name, $level"
        rm -r "$here/out"
    done
done
awk '{ n[length($0) < 255 ? length($0) : 255]++ } END { for (l = 0; l < 256; l++) print l "\t" n[l] + 0 }' \
    "$here/text" >"$here/expected"
quietly "$prefix/bin/millrace" run "$here/devices/linelength.so" "$here/text" -o "$here/out" --sort key
cat "$here"/out/part-* >"$here/got"
same "$here/got" "app with a kernel"
grep -q MR_TEXT_KERNEL "$here/devices/linelength.so" || fail "the kernel's text is not in the app"
"$prefix/bin/millrace" apps >"$here/got"
grep -q wordcount "$here/got" || fail "the installed command does not find the installed apps"
echo "built and run both ways"
