#!/usr/bin/env bash
# Makes the HTML of the guide and the reference, in target/docs or the folder given: docs/build.sh [FOLDER]
# Needs doxygen and python3. Fails on warnings, on links that lead nowhere and on functions without a group.
set -euo pipefail
output=$(realpath -m "${1:-$(dirname "$0")/../target/docs}")
cd "$(dirname "$0")/.."

for tool in doxygen python3; do
    if ! command -v "$tool" >/dev/null; then
        echo "docs/build.sh needs $tool (apt-get install $tool)" >&2
        exit 1
    fi
done

rm -rf "$output/html"
mkdir -p "$output"
doxygen - <<SETTINGS
@INCLUDE         = docs/site/Doxyfile
OUTPUT_DIRECTORY = "$output"
GENERATE_TAGFILE = "$output/names.xml"
PROJECT_NUMBER   = $(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
SETTINGS
python3 docs/site/finish.py "$output/html" "$output/names.xml"
echo "$output/html/index.html"
