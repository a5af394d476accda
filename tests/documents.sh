#!/usr/bin/env bash
# Runs what the documents tell the reader to type: every `sh` block of each file named, from top to
# bottom, in an empty directory. Blocks of another kind (`console`, `text`) are not run.
#
#   tests/documents.sh PROGRAMS FILE...      PROGRAMS: the directory that `keyfall` lies in
set -euo pipefail
programs=$(cd "$1" && pwd)
shift
for document; do
    place=$(mktemp -d)
    awk '/^```sh$/ { inside = 1; next } /^```/ { inside = 0 } inside' "$document" > "$place/script"
    mkdir "$place/run"
    if ! (cd "$place/run" && PATH="$programs:$PATH" bash -euxo pipefail ../script) \
        > "$place/output" 2>&1 < /dev/null; then
        tail -30 "$place/output"
        echo "$document: a command of an sh block failed; the last lines of its output are above" >&2
        exit 1
    fi
    echo "$document: $(grep -c . "$place/script" || true) lines run"
    # A program that was told to stop may still be writing its last.
    for _ in {1..100}; do
        if rm -rf "$place" 2>/dev/null; then break; fi
        sleep 0.2
    done
    if [ -e "$place" ]; then
        echo "$document: something still writes in $place, which the document did not stop" >&2
        exit 1
    fi
done
