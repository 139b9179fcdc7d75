#!/usr/bin/env bash
# Lets awscrt's Python client talk to examples-c/echo_server. Makes its own virtual environment beside this file.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
venv=$here/.venv

if ! "$venv/bin/python" -c 'import awscrt' 2>/dev/null; then
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
fi
make --no-print-directory -C "$here/../../examples-c" build/echo_server
exec "$venv/bin/python" "$here/test_awscrt.py" "$@"
