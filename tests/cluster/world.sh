#!/usr/bin/env bash
# world.sh world|host FOLDER NAME: the first process of a namespace that hosts.py made. When it ends, the kernel ends
# everything in there. It says its number, gets its address, says "ready", and ends when its standard input does:
# however the test dies, the kernel closes that pipe.
set -eu
kind=$1 folder=$2 name=$3

# /proc is still the one of the namespace around this: by this number others can enter here.
read -r pid _ </proc/self/stat
[ "$kind" = host ] || mount --make-rprivate / || { echo "/ is no mount point (a chroot)" >&2; exit 1; }
mount -t proc proc /proc
mount -t sysfs -o ro sysfs /sys             # the network devices of here, and no others
[ ! -d /dev/shm ] || mount -t tmpfs tmpfs /dev/shm
echo "$name" >/proc/sys/kernel/hostname
if [ "$kind" = host ]; then
    mount --bind "$folder/$name" "$folder/local"
else
    mount --bind "$folder/names" /etc/hosts
    ip link add eth0 type bridge            # the switch; the login node sits in it
fi
echo "$pid"

read -r address
ip link set lo up
ip address add "$address/24" dev eth0
ip link set eth0 up
echo ready

read -r _ || true
[ "$kind" = world ] || exit 0
kill -s KILL -- -1
for _ in {1..100}; do                       # they may still be writing
    ! rm -rf "$folder" 2>/dev/null || exit 0
    sleep 0.05
done
