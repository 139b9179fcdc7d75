#!/bin/sh
# demo.sh BUILD_DIR: the echo client and the echo server hold a conversation, over TCP and over a Unix socket.
# RUNNER, if set, is put before both programs (tests/valgrind.sh).
set -eu
build=$1
runner=${RUNNER:-}
work=$(mktemp -d)
server=

finish() {
    if [ -n "$server" ]; then kill "$server" 2>/dev/null || :; fi
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 1' INT TERM

# Starts the server with the given options; `address` becomes what it says it listens on.
start_server() {
    echo "== echo_server $*"
    rm -f "$work/out"
    mkfifo "$work/out"
    $runner "$build/echo_server" "$@" >"$work/out" &
    server=$!
    exec 3<"$work/out"
    read -r line <&3 || { echo "echo_server ended before it listened" >&2; exit 1; }
    echo "$line"
    address=${line#listening on }
}

stop_server() {
    kill -TERM "$server"
    stopping=$server
    server=
    wait "$stopping" || { echo "echo_server failed" >&2; exit 1; }
    exec 3<&-
    echo "== echo_server stopped"
}

talk() {
    echo "== echo_client $*"
    $runner "$build/echo_client" "$@"
}

start_server --port 0
talk --port "${address##*:}"
stop_server

start_server --unix "$work/echo.sock"
talk --unix "$address"
stop_server
echo "demo passed"
