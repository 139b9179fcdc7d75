#!/usr/bin/env bash
# check.sh: compares the C interface in include/eventstream_rpc.h with the one that was promised, eventstream_rpc.abi, and says
# what programs that are already built would stumble over. Additions are allowed.
# check.sh update: makes the header the promise, after additions; after anything else the major version has to rise.
#
# What is compared is what a C compiler makes of the header: functions with empty bodies. That the library exports the same
# functions is shown by tests/exported_symbols.rs. Needs abigail-tools (abidw, abidiff) and a C compiler.
set -euo pipefail
cd "$(dirname "$0")/../.."
promised=packaging/abi/eventstream_rpc.abi
for tool in abidw abidiff cc; do
    command -v $tool >/dev/null || { echo "$tool is needed: apt-get install abigail-tools gcc" >&2; exit 2; }
done
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

{
    printf '#include <eventstream_rpc.h>\n#include <stdlib.h>\n'
    # The constants are in no function's type.
    sed -n 's/^typedef enum \(esrpc_[a-z_]*\).*/void constants_of_\1(\1 value) { (void)value; }/p' include/eventstream_rpc.h
    awk '/^ESRPC_API/ { on = 1 } on { print } /;$/ { on = 0 }' include/eventstream_rpc.h | sed 's/;$/ { abort(); }/'
} >"$folder/functions.c"
cp include/eventstream_rpc.h "$folder"
# From the folder itself, so that no path is in the result.
(cd "$folder" && cc -g -fPIC -shared -Wl,-soname,libeventstream_rpc.so -I. functions.c -o libeventstream_rpc.so)
abidw --no-corpus-path --no-comp-dir-path --no-show-locs --out-file "$folder/now.abi" "$folder/libeventstream_rpc.so"
if [ "${1:-}" = update ]; then
    cp "$folder/now.abi" $promised
    exit
fi
# Bit 2: something changed; bit 3: incompatibly.
result=0
abidiff --no-added-syms $promised "$folder/now.abi" || result=$?
if [ $result != 0 ]; then
    echo "the C interface is not the promised one: see CONTRIBUTING.md, The ABI" >&2
    exit 1
fi
echo "every program built with the promised interface works with this one"
