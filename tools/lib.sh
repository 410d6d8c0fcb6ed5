# shellcheck shell=bash
# lib.sh: what demo.sh, test.sh and the tools share. Sourced by bash, from the root of the tree.

say()  { printf '%-10s %s\n' "$1" "$2"; }
fail() { printf '%s: %s\n' "${0##*/}" "$1" >&2; exit 1; }

# The same text with ~ for the home folder, as a person would write it.
short_path() {
    local text=$1
    [ -z "${HOME:-}" ] || text=${text//"$HOME"\//'~/'}
    printf '%s' "$text"
}

# build_preset PRESET TARGET...: configures once, and again after packages were installed (a test that lacked its oracle
# may have it now), then lets ninja decide. What went wrong is shown, and the rest is in build/PRESET.log.
build_preset() {
    local preset=$1 folder=build/$1 log=build/$1.log started=$SECONDS
    shift
    mkdir -p build
    if [ ! -f "$folder/build.ninja" ] || [ /var/lib/dpkg/status -nt "$folder/build.ninja" ]; then
        cmake --preset "$preset" >"$log" 2>&1 || { cat "$log" >&2; return 1; }
        touch "$folder/build.ninja"     # cmake leaves it as it is when nothing changed
    fi
    printf '%-10s %s: ' build "$folder"
    ninja -C "$folder" "$@" >"$log" 2>&1 || {
        echo failed
        grep -Ev '^\[[0-9]+/[0-9]+\] |^ninja: Entering' "$log" >&2
        return 1
    }
    if grep -q 'no work to do' "$log"; then echo "up to date"; else echo "built in $((SECONDS - started)) s"; fi
}
