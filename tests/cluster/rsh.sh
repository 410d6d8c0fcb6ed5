#!/usr/bin/env bash
# rsh.sh [-OPTION]... HOST COMMAND...: stands in for ssh on the login node of hosts.py. Like ssh it joins its arguments
# to one command line for a shell, hands on no environment, and ends with the status of the command, or with 255.
while [[ ${1-} == -* ]]; do shift; done
host=$1
shift
pid=$(cat "${MILLRACE_WORLD:?is set by hosts.py}/$host.pid" 2>/dev/null) || {
    echo "rsh.sh: connect to host $host: No route to host" >&2
    exit 255
}
exec nsenter --target "$pid" --mount --uts --ipc --net --pid --root -- \
    env -i -C "${HOME:-/}" HOME="${HOME:-/}" PATH="$PATH" MILLRACE_WORLD="$MILLRACE_WORLD" sh -c "$*"
