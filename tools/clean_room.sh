#!/usr/bin/env bash
# clean_room.sh [COMMAND...]: proves that a bare Debian 12 is enough. Makes one with debootstrap, puts the committed
# tree into it, and runs the commands there (default: "./demo.sh" "./demo.sh" "./test.sh --quick"), with an empty
# environment and no standard input. Needs root. Takes its package sources and network settings from this system.
#
#   CLEAN_ROOM=FOLDER   where the bare system goes; default: a new folder below /var/tmp, removed at the end
#                       (a folder that is given stays, and is used again as it is, with a fresh copy of the tree)
#   CLEAN_ROOM_LOG=FILE default: build/clean_room.log
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. tools/lib.sh

[ "$(id -u)" -eq 0 ] || fail "needs root: it mounts /proc and changes the root folder"
[ $# -gt 0 ] || set -- ./demo.sh ./demo.sh "./test.sh --quick"
tools/setup.sh tools

room=${CLEAN_ROOM:-$(mktemp -d /var/tmp/millrace-clean-room.XXXXXX)}
log=${CLEAN_ROOM_LOG:-build/clean_room.log}
mkdir -p "$room" "$(dirname "$log")"
chmod 755 "$room"                   # it is / there, for every user
: >"$log"

leave() {
    local point
    for point in dev sys proc .; do
        if mountpoint -q "$room/$point"; then umount -R "$room/$point" || umount -R -l "$room/$point"; fi
    done
    # --one-file-system: if a mount could not be undone, nothing behind it is touched
    [ -n "${CLEAN_ROOM:-}" ] || rm -rf --one-file-system "$room"
}
trap leave EXIT

# This system's own mirrors of the release, its updates and its security fixes, in that order.
# shellcheck disable=SC2016  # apt-get fills in the dollar names
sources=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' |
    awk '$2 ~ /^bookworm(-updates|-security)?$/ && !seen[$2]++ { print length($2), "deb", $1, $2, "main" }' |
    sort -n | cut -d ' ' -f 2-)
read -r _ mirror suite _ <<<"$sources"
[ "$suite" = bookworm ] || fail "this system's package sources name no mirror of Debian 12 (bookworm)"

if [ ! -e "$room/etc/debian_version" ]; then
    say room "debootstrap into $room"
    debootstrap --variant=minbase bookworm "$room" "$mirror" >>"$log" 2>&1 || {
        tail -n 20 "$log" >&2
        fail "debootstrap failed"
    }
fi
printf '%s\n' "$sources" >"$room/etc/apt/sources.list"
cat /etc/resolv.conf >"$room/etc/resolv.conf"
cat /etc/hosts >"$room/etc/hosts"
apt-config dump | grep -i '^Acquire::.*proxy' >"$room/etc/apt/apt.conf.d/90proxy" || true
if [ -n "${PIP_CERT:-}" ]; then     # the authority that this network's mirror of PyPI is signed by
    cat "$PIP_CERT" >"$room/etc/pip-authority.crt"
    printf '[global]\ncert = /etc/pip-authority.crt\n' >"$room/etc/pip.conf"
fi

mount --bind "$room" "$room"        # / is a mount point there, as tests that make namespaces expect
mount -t proc proc "$room/proc"
mount -t sysfs -o ro sysfs "$room/sys"
mount --rbind --make-rslave /dev "$room/dev"

rm -rf "$room/millrace"
mkdir "$room/millrace"
git archive HEAD | tar -x -C "$room/millrace"
say room "commit $(git rev-parse --short HEAD) in $room"

for command in "$@"; do
    say room "$command"
    started=$SECONDS
    status=0
    chroot "$room" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root CI=true \
        bash -c "cd /millrace && $command" </dev/null 2>&1 | tee -a "$log" || status=$?
    [ "$status" -eq 0 ] || fail "$command ended with status $status in the clean room"
    say room "$command: passed in $((SECONDS - started)) s"
done
