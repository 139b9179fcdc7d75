#!/bin/sh
# licences.sh: makes THIRD-PARTY-LICENSES anew, after the crates have changed. Needs cargo-about (cargo install cargo-about
# --features cli).
set -eu
cd "$(dirname "$0")/.."
cargo about generate --config packaging/about.toml --all-features --locked --fail packaging/about.hbs \
    --output-file THIRD-PARTY-LICENSES
