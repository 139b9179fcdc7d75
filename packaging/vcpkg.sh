#!/usr/bin/env bash
# vcpkg.sh: makes the archive of `make dist`, and a port for it in target/dist/vcpkg. Copy the archive from target/dist into
# vcpkg's folder downloads, then run: vcpkg install eventstream-rpc --overlay-ports=target/dist/vcpkg
set -euo pipefail
cd "$(dirname "$0")/.."
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
dist=$(realpath -m "${CARGO_TARGET_DIR:-target}")/dist
packaging/dist.sh

port=$dist/vcpkg/eventstream-rpc
rm -rf "$port"
mkdir -p "$port"
cp packaging/vcpkg/* "$port"
sum=$(sha512sum "$dist/eventstream_rpc-$version.tar.xz" | cut -d ' ' -f 1)
sed -i "s/SHA512 0$/SHA512 $sum/" "$port/portfile.cmake"
