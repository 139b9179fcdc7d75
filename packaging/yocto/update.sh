#!/usr/bin/env bash
# update.sh [--check]: makes anew what the recipe repeats of this repository: the crates of Cargo.lock with their checksums, in
# eventstream-rpc-crates.inc, the checksums of the licences, and the version, which is in the recipe's name. With --check it
# only says whether they are up to date.
set -euo pipefail
cd "$(dirname "$0")/../.."
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
committed=packaging/yocto
folder=$committed
if [ "${1:-}" = --check ]; then
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    cp $committed/*.bb "$folder"
fi
recipe=$folder/eventstream-rpc_$version.bb
[ -e "$recipe" ] || mv "$folder"/eventstream-rpc_*.bb "$recipe"

# Each crate of Cargo.lock that comes from the registry: its name, version and checksum.
crates() {
    awk -F '"' '/^\[\[package\]\]/ { name = version = "" }
        /^name = / { name = $2 } /^version = / { version = $2 } /^checksum = / { print name, version, $2 }' Cargo.lock
}

{
    echo '# Made by update.sh from Cargo.lock.'
    echo
    echo 'SRC_URI += "\'
    crates | awk '{ print "    crate://crates.io/" $1 "/" $2 " \\" }'
    echo '"'
    echo
    crates | awk '{ print "SRC_URI[" $1 "-" $2 ".sha256sum] = \"" $3 "\"" }'
} >"$folder/eventstream-rpc-crates.inc"

grep -o 'file://[^;]*;md5=' "$recipe" | sed 's|file://\(.*\);md5=|\1|' | while read -r licence; do
    sum=$(md5sum "$licence" | cut -d ' ' -f 1)
    sed -i "s|file://$licence;md5=[0-9a-f]*|file://$licence;md5=$sum|" "$recipe"
done

if [ "$folder" != $committed ]; then
    for file in "$folder"/*; do
        diff -U 0 "$committed/$(basename "$file")" "$file" || stale=yes
    done
    if [ "${stale:-}" = yes ]; then
        echo "the recipe in $committed is out of date: run $committed/update.sh" >&2
        exit 1
    fi
fi
