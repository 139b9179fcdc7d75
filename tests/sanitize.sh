#!/usr/bin/env bash
# sanitize.sh thread|address [ARGUMENT...]: the tests in C with ThreadSanitizer or AddressSanitizer (leaks included), in the
# library and in the programs. ARGUMENTs go to the tests: `setup::` runs one program, `--skip setup::` all others. Installs
# what it needs.
set -euo pipefail
cd "$(dirname "$0")/.."

kind=${1:-}
case $kind in
    thread | address) shift ;;
    *)
        echo "usage: $0 thread|address [ARGUMENT...]" >&2
        exit 2
        ;;
esac

install() {
    local sudo=()
    [ "$(id -u)" = 0 ] || sudo=(sudo)
    "${sudo[@]}" apt-get update
    DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install --yes --no-install-recommends "$@"
}

export RUSTC_BOOTSTRAP=1
export RUSTFLAGS="-Zsanitizer=$kind -Cforce-frame-pointers=yes"
build=()
if [ "$kind" = thread ]; then
    # The locks are in the standard library, which has to be built with the sanitizer too, or what they guard looks
    # unguarded. Debian's compiler comes with the source of its own.
    debian=/usr/bin/rustc
    [ -e /usr/lib/rustlib/src/rust/library ] && [ -x $debian ] || install rustc-web rust-web-src
    export RUSTC=$debian
    build=(-Zbuild-std=std,panic_unwind)
else
    RUSTFLAGS+=" -Cunsafe-allow-abi-mismatch=sanitizer"
fi
version=$("${RUSTC:-rustc}" -vV)

# Both sides must have the runtime of the same LLVM: rustc's.
llvm=$(sed -n 's/^LLVM version: \([0-9]*\).*/\1/p' <<<"$version")
target=$(sed -n 's/^host: //p' <<<"$version")
[ -n "$(find "/usr/lib/llvm-$llvm/" -name 'libclang_rt.tsan*' -print -quit 2>/dev/null)" ] ||
    install "clang-$llvm" "llvm-$llvm" "libclang-rt-$llvm-dev"

# Naming the target keeps the sanitizer out of build scripts.
folder=${CARGO_TARGET_DIR:-target}/sanitize-$kind
cargo build "${build[@]}" --target "$target" --target-dir "$folder"
library=$(realpath "$folder/$target/debug/libeventstream_rpc.so")
unset RUSTC RUSTFLAGS RUSTC_BOOTSTRAP

export CC=clang-$llvm CXX=clang++-$llvm
export ESRPC_TEST_LIBRARY=$library
export ESRPC_TEST_CFLAGS="-fsanitize=$kind -fno-omit-frame-pointer"
# The sanitizers' memory lies at fixed places, which a random layout may take.
export ESRPC_TEST_WRAPPER="setarch $(uname -m) -R"
symbolizer=$(command -v "llvm-symbolizer-$llvm" || true)
# Children are forked while threads run, on purpose.
export TSAN_OPTIONS="halt_on_error=1 die_after_fork=0 external_symbolizer_path=$symbolizer"
export ASAN_OPTIONS="detect_leaks=1 detect_stack_use_after_return=1 external_symbolizer_path=$symbolizer"
cargo test --test c -- "$@"
echo "no complaints from the $kind sanitizer"
