#!/usr/bin/env bash
# Lets Python clients talk to examples-c/echo_server: awscrt's, plain and over TLS, and awsiotsdk's, and our own client over
# TLS. Makes its own virtual environments beside this file. Interop with OpenSSL is in tests/tls_connections/openssl.rs.
#
# Arguments are for awscrt's tests alone, and then the only ones that are run.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

# environment NAME REQUIREMENTS MODULE: a virtual environment that has the module.
environment() {
    local venv=$here/$1
    if ! "$venv/bin/python" -c "import $3" 2>/dev/null; then
        python3 -m venv --clear "$venv"
        "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/$2"
    fi
}

if ! command -v openssl >/dev/null; then
    echo "the openssl command (package openssl) is needed: it makes the certificates" >&2
    exit 1
fi
make --no-print-directory -C "$here/../../examples-c" build/echo_server build/echo_client
environment .venv requirements.txt awscrt
"$here/.venv/bin/python" "$here/test_awscrt.py" "$@"
[ $# -gt 0 ] && exit
"$here/.venv/bin/python" "$here/test_awscrt_tls.py"
# Of its own: it wants another awscrt.
environment .venv-awsiotsdk requirements_awsiotsdk.txt awsiot.eventstreamrpc
"$here/.venv-awsiotsdk/bin/python" "$here/test_awsiotsdk.py"
