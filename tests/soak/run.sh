#!/usr/bin/env bash
# run.sh [SECONDS]: ten minutes, or as long as that, of mixed load with faults of the system; then half as long without.
# ESRPC_TEST_LIBRARY names a library to use instead of building one.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-600}
target=${CARGO_TARGET_DIR:-target}
folder=$target/soak
mkdir -p "$folder"

library=${ESRPC_TEST_LIBRARY:-$target/release/libeventstream_rpc.so}
[ -n "${ESRPC_TEST_LIBRARY:-}" ] || cargo rustc --lib --crate-type cdylib,staticlib --release
ln -sf "$(realpath "$library")" "$folder/libeventstream_rpc.so"
ln -sf "$(realpath "$library")" "$folder/libeventstream_rpc.so.0"

quietly() {
    "$@" >"$folder/openssl.log" 2>&1 || { cat "$folder/openssl.log" >&2; return 1; }
}
quietly openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj "/CN=soak CA" \
    -keyout "$folder/ca.key" -out "$folder/ca.pem"
quietly openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=server.example" \
    -keyout "$folder/server.key" -out "$folder/server.csr"
printf 'subjectAltName=DNS:server.example\nextendedKeyUsage=serverAuth\n' >"$folder/extensions"
quietly openssl x509 -req -in "$folder/server.csr" -CA "$folder/ca.pem" -CAkey "$folder/ca.key" -CAcreateserial -days 30 \
    -extfile "$folder/extensions" -out "$folder/server.pem"

warnings=(-Wall -Wextra -Werror -g -O2 -pthread)
"${CC:-cc}" -std=gnu11 "${warnings[@]}" -shared -fPIC tests/c/fault_shim.c -o "$folder/fault_shim.so" -ldl
"${CC:-cc}" -std=gnu11 "${warnings[@]}" -Iinclude -Itests/c tests/soak/soak.c -o "$folder/soak" \
    -L"$folder" -leventstream_rpc -Wl,-rpath,"$(realpath "$folder")"

echo "== with faults, $seconds s"
LD_PRELOAD=$(realpath "$folder/fault_shim.so") FAULT_RANDOM=20251126 FAULT_RESET_IN=2000 \
    "$folder/soak" "$seconds" "$folder"
echo "== without faults, $((seconds / 2)) s"
"$folder/soak" "$((seconds / 2))" "$folder"
