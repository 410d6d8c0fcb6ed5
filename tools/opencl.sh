#!/usr/bin/env bash
# opencl.sh: the OpenCL platforms that the tests use, whatever else this machine has: Debian's pocl, and Intel's runtime
# for CPUs, which PyPI has. Leaves .venv-opencl/icd, a folder for the ICD loader (OCL_ICD_VENDORS names it) with a file
# for each platform. Run again it does nothing. Without Intel's runtime it says why and ends well: the tests that need
# two platforms say that they were skipped.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. tools/lib.sh

folder=$PWD/.venv-opencl
mark=$folder/installed
wanted=$(cat tools/opencl_requirements.txt; echo "$folder")

install_intel() {
    local log=$folder/intel.log
    if [ "$(uname -m)" != x86_64 ]; then
        say opencl "Intel's runtime is for x86-64 only: tests of two platforms are skipped"
    elif python3 -m venv --clear "$folder/intel" >"$log" 2>&1 &&
        "$folder/intel/bin/python" -m pip --disable-pip-version-check install --quiet --retries 1 --timeout 30 \
            --no-cache-dir --requirement tools/opencl_requirements.txt >>"$log" 2>&1 &&
        [ -e "$folder/intel/lib/libintelocl.so" ]; then
        echo "$folder/intel/lib/libintelocl.so" >"$folder/icd/intel.icd"
        echo "$wanted" >"$mark"
        rm -f "$log"
        say opencl "installed Intel's runtime into .venv-opencl"
    else
        rm -rf "$folder/intel"
        say opencl "Intel's runtime could not be had (see .venv-opencl/intel.log): tests of two platforms are skipped"
    fi
}

mkdir -p "$folder/icd"
if [ -e /etc/OpenCL/vendors/pocl.icd ]; then
    cmp -s /etc/OpenCL/vendors/pocl.icd "$folder/icd/pocl.icd" ||
        cp /etc/OpenCL/vendors/pocl.icd "$folder/icd/pocl.icd"
fi
if [ "$(cat "$mark" 2>/dev/null)" = "$wanted" ] && [ -e "$folder/icd/intel.icd" ]; then
    say opencl "both platforms are here"
else
    rm -f "$folder/icd/intel.icd" "$mark"
    install_intel
fi
