#!/usr/bin/env bash
# Lets awscrt's Python client talk to examples-c/echo_server, plain and over TLS, and our own client over TLS. Makes its
# own virtual environment beside this file. Interop with OpenSSL is in tests/tls_connections/openssl.rs.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
venv=$here/.venv

if ! command -v openssl >/dev/null; then
    echo "the openssl command (package openssl) is needed: it makes the certificates" >&2
    exit 1
fi
if ! "$venv/bin/python" -c 'import awscrt' 2>/dev/null; then
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
fi
make --no-print-directory -C "$here/../../examples-c" build/echo_server build/echo_client
"$venv/bin/python" "$here/test_awscrt.py" "$@"
[ $# -gt 0 ] || "$venv/bin/python" "$here/test_awscrt_tls.py"
