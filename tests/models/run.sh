#!/usr/bin/env bash
# run.sh [TEST]: lets shuttle choose how the library's threads take turns, and checks promises in each of many thousand
# schedules. ESRPC_SCHEDULES: how many per test (1000).
#
# The code is the real one of src/, copied: only its src/runtime gets shuttle's locks, atomics and threads for the standard
# library's, and a poll that shuttle can see (model.rs) for mio's. So no build of the library depends on shuttle.
set -euo pipefail
cd "$(dirname "$0")/../.."
here=tests/models
folder=${CARGO_TARGET_DIR:-target}/models

rm -rf "$folder/src" "$folder/tests"
mkdir -p "$folder/tests"
cp -r src "$folder/src"
rm -r "$folder/src/ffi"
sed -i '/pub mod ffi;/d' "$folder/src/lib.rs"
sed -i '1i #![allow(unused_imports)]' "$folder/src/lib.rs"
echo 'pub mod model;' >>"$folder/src/lib.rs"
cp $here/model.rs "$folder/src/model.rs"
cat $here/models.rs $here/stop.rs >"$folder/tests/models.rs"

# What lives as long as the process, and so outlives a schedule, is in process.rs and default.rs.
sed -i 's/\([^:]\)\block(/\1crate::model::std_lock(/' "$folder/src/runtime/default.rs"
find "$folder/src/runtime" -name '*.rs' ! -name process.rs ! -name default.rs -print0 | xargs -0 sed -i \
    -e 's/\bstd::sync::/crate::model::sync::/g' \
    -e 's/\bstd::thread::/crate::model::thread::/g' \
    -e 's/\bthread_local!/crate::model::thread_local!/g' \
    -e 's/\buse mio::/use crate::model::mio::/g'
grep -rl 'thread_local!' "$folder/src/runtime" | xargs -r sed -i '0,/^use /s//#[allow(unused_imports)]\nuse crate::model::{CellKey as _, RefCellKey as _};\nuse /'

{
    printf '[package]\nname = "eventstream_rpc"\nversion = "0.0.0"\nedition = "2024"\n[workspace]\n'
    sed -n '/^\[features\]/,/^\[build-dependencies\]/{/^\[build-dependencies\]/!p}' Cargo.toml
    printf 'shuttle = "0.9"\n[profile.dev]\nopt-level = 1\n'
} >"$folder/Cargo.toml"
[ -e "$folder/Cargo.lock" ] || cp Cargo.lock "$folder/Cargo.lock"

# ring, since it is built sooner: no model has TLS.
cargo test --quiet --manifest-path "$folder/Cargo.toml" --target-dir "$folder/target" \
    --no-default-features --features ring --test models -- "$@"
