#!/bin/sh
# Starts the broker once its password file is there, and has it read the file again whenever it was replaced.
# For the container image, whose shell is busybox: POSIX only. The broker takes this shell's place and process id,
# so it gets the container's signals itself and its exit code is the container's.
set -eu

file=${LINHUB_PASSWORD_FILE:-/mosquitto/identity/passwords}
every=${LINHUB_PASSWORD_POLL_S:-1}
broker=$$

# The file is replaced whole, so each version has an inode, a time and a size of its own.
version() { stat -c '%i %Y %s' "$file" 2>/dev/null || echo none; }

said=
until [ -s "$file" ]; do
    [ -n "$said" ] || echo "waiting for $file"
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
