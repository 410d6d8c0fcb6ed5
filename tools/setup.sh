#!/usr/bin/env bash
# setup.sh SECTION...: installs what is missing of the named sections of tools/packages.txt: build test demo bench
# tools. Works on a bare Debian 12, as root or through sudo, and asks nothing; on a terminal sudo may ask for the
# password. Where nothing is missing it does nothing and needs no network.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. tools/lib.sh

[ $# -gt 0 ] || fail "which sections of tools/packages.txt? For example: tools/setup.sh build test"

# Reads "# name:" as the start of a section, and passes over other comments and empty lines.
packages_of() {
    awk -v wanted=" $* " '
        /^# [a-z]+:/ {
            name = substr($2, 1, length($2) - 1)
            inside = index(wanted, " " name " ")
            known[name] = 1
            next
        }
        /^#/ || NF == 0 { next }
        inside && !seen[$1]++ { print $1 }
        END {
            count = split(wanted, names, " ")
            for (i = 1; i <= count; i++)
                if (!(names[i] in known)) { print "no section " names[i] >"/dev/stderr"; exit 1 }
        }' tools/packages.txt
}

# Sets `root`, the words before a command that needs root. Called before anything is redirected: standard input tells
# whether there is somebody to ask, and the sentence is for the user, not for a log.
become_root() {
    root=()
    [ "$(id -u)" -ne 0 ] || return 0
    command -v sudo >/dev/null ||
        fail "installing needs root. As root run: apt-get install -y --no-install-recommends ${missing[*]}"
    root=(sudo)
    [ -t 0 ] || root+=(-n)
}

apt_get() {
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -y -q -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 "$@" </dev/null
}

list=$(packages_of "$@")
mapfile -t wanted <<<"$list"
command -v dpkg-query >/dev/null ||
    fail "this system has no dpkg. Install what corresponds to these Debian packages, then use cmake: ${wanted[*]}"

# db:Status-Status is "installed" only for what is there whole; a package that apt has never seen prints no line.
mapfile -t missing < <(
    dpkg-query -W -f='${Package} ${db:Status-Status}\n' "${wanted[@]}" 2>/dev/null |
        awk -v wanted="${wanted[*]}" '
            $2 == "installed" { have[$1] = 1 }
            END {
                count = split(wanted, names, " ")
                for (i = 1; i <= count; i++)
                    if (!(names[i] in have)) print names[i]
            }')

if [ ${#missing[@]} -eq 0 ]; then
    say set-up "all ${#wanted[@]} packages are here"
else
    become_root
    say set-up "installing ${missing[*]}"
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    # A source of packages that cannot be reached need not matter: the installation decides.
    apt_get update >"$log" 2>&1 || true
    apt_get install --no-install-recommends "${missing[@]}" >>"$log" 2>&1 || {
        tail -n 30 "$log" >&2
        fail "apt-get could not install ${missing[*]}; see above"
    }
fi
