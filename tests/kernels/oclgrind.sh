#!/usr/bin/env bash
# oclgrind.sh TEST: a test of kernels again in Oclgrind's simulator, at small sizes: no race between work-items, no
# access out of bounds, nothing read that was never written. Exit status 77 (skipped) without Oclgrind.
# One report is passed over: an index beyond the declared size of an array at the end of a struct, which is how params
# grow in C; whether the access is inside the buffer is checked apart from that.
set -euo pipefail
command -v oclgrind >/dev/null || { echo "skipped: no oclgrind (Debian package oclgrind)"; exit 77; }
here=$(mktemp -d "${TMPDIR:-/tmp}/millrace-oclgrind-XXXXXX")
trap 'rm -rf "$here"' EXIT
export MILLRACE_TEST_SIMULATED=1
unset OCL_ICD_VENDORS

# Blank lines part the reports. Without optimisation the kernel is simulated as it is written.
status=0
mkfifo "$here/errors"
awk 'BEGIN { RS = "" } !/^[ \n]*(Index \([0-9]+\) exceeds static array size|\[  PASSED  \])/ && /[A-Za-z]/' \
    <"$here/errors" >"$here/reports" &
oclgrind --data-races --uninitialized --max-errors 1000000000 --build-options -cl-opt-disable "$1" \
    >"$here/out" 2>"$here/errors" || status=$?
wait
cat "$here/out"
if [ "$status" -ne 0 ] || [ -s "$here/reports" ]; then
    head -n 60 "$here/reports" >&2
    echo "oclgrind: the test ended with status $status and $(grep -c Kernel: "$here/reports" || true) reports" >&2
    exit 1
fi
echo "oclgrind: no report"
