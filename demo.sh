#!/usr/bin/env bash
# demo.sh: installs what is missing, builds, fetches the Linux source tree from Debian (over 1 GB in about 80,000
# files), counts its words on all cores, and shows the top of the result. A second run installs, builds and fetches
# nothing.
#
#   ./demo.sh               the result goes to build/demo
#   MILLRACE_CACHE=FOLDER   where the corpus is kept; default: $XDG_CACHE_HOME/millrace or ~/.cache/millrace
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. tools/lib.sh

case ${1:-} in
'') ;;
-h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
*) fail "unknown option $1; see ./demo.sh --help" ;;
esac

output=build/demo
cache=${MILLRACE_CACHE:-${XDG_CACHE_HOME:-${HOME:-/var/tmp}/.cache}/millrace}

# Unpacks the newest source tree that Debian's package linux-source brought, and sets `corpus`. The folder gets its name
# only when it is whole. `part` is not local: after a failure the trap runs when the function has ended.
unpack_corpus() {
    local archives=(/usr/src/linux-source-*.tar.xz) archive
    archive=$(printf '%s\n' "${archives[@]}" | sort -V | tail -n 1)
    [ -f "$archive" ] || fail "the package linux-source left no /usr/src/linux-source-*.tar.xz; reinstall it"
    corpus=$cache/$(basename "$archive" .tar.xz)
    if [ -d "$corpus" ]; then
        say corpus "$(short_path "$corpus")"
        return
    fi
    say corpus "unpacking $archive into $(short_path "$cache")"
    mkdir -p "$cache"
    part=$(mktemp -d "$cache/unpacking.XXXXXX")
    trap 'rm -rf "$part"' EXIT
    tar -xf "$archive" -C "$part" --strip-components 1 --no-same-owner
    mv "$part" "$corpus"
    trap - EXIT
}

tools/setup.sh build demo
build_preset release apps/all cli/all
unpack_corpus

command=(build/release/bin/millrace run wordcount "$corpus" -o "$output" --sort value --force)
say run "$(short_path "${command[*]}")"
echo
"${command[@]}"

echo
awk -F '\t' '{ printf "%14d  %s\n", $2, $1 } NR == 12 { exit }' "$output/part-00000"
printf '%14s  %s\n' ... "the whole list: $output/part-*"
