#!/usr/bin/env bash
# debian.sh: builds the Debian packages of the last commit from the archive of `make dist`, in target/dist/debian, and lets
# lintian look at them. Needs dpkg-dev, debhelper, fakeroot and lintian, and a Rust toolchain from packages (Debian 12:
# rustc-web and cargo-web). Only the archive may need a network, for crates that cargo has not downloaded yet.
set -euo pipefail
cd "$(dirname "$0")/.."
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
here=$PWD
dist=$(realpath -m "${CARGO_TARGET_DIR:-target}")/dist
folder=$dist/debian
packaging/dist.sh

rm -rf "$folder"
mkdir -p "$folder"
cp "$dist/eventstream_rpc-$version.tar.xz" "$folder/libeventstream-rpc_$version.orig.tar.xz"
tar -C "$folder" -xf "$folder/libeventstream-rpc_$version.orig.tar.xz"
cd "$folder/eventstream_rpc-$version"
cp -r "$here/packaging/debian" debian
# Packages come from the tools of packages: cargo and rustc of the system, and no variables of this shell.
env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME="$folder" LANG=C.UTF-8 dpkg-buildpackage --unsigned-source --unsigned-changes
cd ..
# This takes minutes: among the crates there are libraries for Windows with thousands of members, which lintian reads.
lintian --fail-on error,warning --info --display-info --pedantic ./*.changes
ls -l ./*.deb
