#!/bin/sh
# static_library.sh FROM TO: makes of cargo's static library one that has the functions of the header and no other names, so
# that it can stand beside other libraries written in Rust. LD, OBJCOPY and AR name the tools, with options if need be.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# Groups are resolved here: one of the same name elsewhere would otherwise replace one of ours, with its local names.
${LD:-ld} -r --force-group-allocation --whole-archive "$1" -o "$folder/eventstream_rpc.o"
# Code of the Rust compiler's is of no use to linkers, and makes those fail that are older than it.
${OBJCOPY:-objcopy} --wildcard --keep-global-symbol='esrpc_*' --remove-section=.llvmbc --remove-section=.llvmcmd \
    "$folder/eventstream_rpc.o"
rm -f "$2"
${AR:-ar} rcsD "$2" "$folder/eventstream_rpc.o"
