#!/bin/sh
# Starts the broker once its password file and access list are there, and has it read both again whenever the password
# file was replaced, which is written last.
# For the container image, whose shell is busybox: POSIX only. The broker takes this shell's place and process id,
# so it gets the container's signals itself and its exit code is the container's.
set -eu

file=${LINHUB_PASSWORD_FILE:-/mosquitto/identity/passwords}
access=$(dirname "$file")/acl
every=${LINHUB_PASSWORD_POLL_S:-1}
broker=$$

# The file is replaced whole; an inode may come back, its times do not.
version() { stat -c '%i %s %y %z' "$file" 2>/dev/null || echo none; }

said=
until [ -s "$file" ] && [ -s "$access" ]; do
    [ -n "$said" ] || echo "waiting for $file and $access"
    said=yes
    sleep "$every"
done

seen=$(version)
(
    while sleep "$every" && kill -0 "$broker" 2>/dev/null; do
        now=$(version)
        if [ "$now" != "$seen" ] && [ "$now" != none ]; then
            seen=$now
            kill -HUP "$broker"
        fi
    done
) &
exec "$@"
