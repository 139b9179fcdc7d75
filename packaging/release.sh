#!/usr/bin/env bash
# release.sh [TARGET...]: archives of the library for people who have no Rust, in target/release-archives: what `make install`
# installs, a README of the archive, an SBOM, and the checksums. The same commit gives the same bytes, wherever it is built.
#
#   x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu armv7-unknown-linux-gnueabihf   glibc 2.17 or newer
#   x86_64-unknown-linux-musl aarch64-unknown-linux-musl                               shared and static
#   x86_64-pc-windows-gnu                                                              .dll and import libraries
#
# Needs rustup, and cargo-cyclonedx for the SBOM; installs the rest with apt-get and pip.
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/tools.sh

all=(x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu armv7-unknown-linux-gnueabihf
    x86_64-unknown-linux-musl aarch64-unknown-linux-musl x86_64-pc-windows-gnu)
glibc=2.17
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
target_folder=$(realpath -m "${CARGO_TARGET_DIR:-target}")
archives=$target_folder/release-archives
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export CARGO_TARGET_DIR=$target_folder/release-build CARGO_INCREMENTAL=0

# No path of this machine is in the result.
cargo_home=${CARGO_HOME:-$HOME/.cargo}
hidden="--remap-path-prefix=$PWD=. --remap-path-prefix=$cargo_home=cargo --remap-path-prefix=$CARGO_TARGET_DIR=target"
export CFLAGS="-ffile-prefix-map=$PWD=. -ffile-prefix-map=$cargo_home=cargo -ffile-prefix-map=$CARGO_TARGET_DIR=target"

# binutils TARGET: the prefix of the tools for its object files.
binutils() {
    case $1 in
    x86_64-unknown-linux-*) ;;
    aarch64-*) echo aarch64-linux-gnu- ;;
    armv7-*) echo arm-linux-gnueabihf- ;;
    x86_64-pc-windows-gnu) echo x86_64-w64-mingw32- ;;
    esac
}

sbom() {
    env -u CARGO_TARGET_DIR cargo cyclonedx --quiet --format json --spec-version 1.5 --target "$1" \
        --override-filename eventstream_rpc-sbom >&2
    sed "s|file://$PWD|file:///eventstream_rpc|g" eventstream_rpc-sbom.json >"$2"
    rm eventstream_rpc-sbom.json
}

for_linux() {
    local target=$1 folder=$2 prefix
    prefix=$(binutils "$target")
    case $prefix in
    aarch64-*) install_packages binutils-aarch64-linux-gnu ;;
    arm-*) install_packages binutils-arm-linux-gnueabihf ;;
    esac
    install_zig "$target_folder"
    local flags=$hidden zig_target=$target compiler=${target/-unknown-/-}
    case $target in
    # Without this there would be no shared library, and the static one is the same.
    *-musl) flags="$flags -Ctarget-feature=-crt-static" ;;
    *) zig_target=$target.$glibc compiler=$compiler.$glibc ;;
    esac
    # As the compiler that comes with cargo-zigbuild calls it.
    case $target in
    armv7-*) compiler="${compiler/armv7/arm} -mcpu=generic+v7a+vfp3-d32+thumb2-neon" ;;
    esac
    RUSTFLAGS=$flags make --no-print-directory install-strip PREFIX=/ LIBDIR=/lib INCLUDEDIR=/include \
        DOCDIR=/share/doc MANDIR=/share/man BINDIR=/bin DESTDIR="$folder" CARGO_BUILD="cargo-zigbuild rustc" TARGET="$zig_target" \
        LD="${prefix}ld" AR="${prefix}ar" OBJCOPY="${prefix}objcopy" STRIP="${prefix}strip" \
        CC="python-zig cc -target $compiler"
}

for_windows() {
    local target=$1 folder=$2 built=$CARGO_TARGET_DIR/$1/release
    install_packages gcc-mingw-w64-x86-64-posix
    install_zig "$target_folder"
    RUSTFLAGS="$hidden -Clink-arg=-Wl,--no-insert-timestamp" cargo rustc --locked --release --lib \
        --crate-type cdylib,staticlib --target "$target"
    mkdir -p "$folder/bin" "$folder/lib" "$folder/include" "$folder/share/doc"
    cp "$built/eventstream_rpc.dll" "$folder/bin"
    x86_64-w64-mingw32-strip --strip-unneeded "$folder/bin/eventstream_rpc.dll"
    # Import libraries for MinGW and for MSVC.
    { printf 'LIBRARY eventstream_rpc.dll\nEXPORTS\n' && exported "$folder/bin/eventstream_rpc.dll"; } \
        >"$folder/lib/eventstream_rpc.def"
    python-zig dlltool -D eventstream_rpc.dll -m i386:x86-64 -d "$folder/lib/eventstream_rpc.def" -l "$folder/lib/libeventstream_rpc.dll.a"
    python-zig dlltool -D eventstream_rpc.dll -m i386:x86-64 -d "$folder/lib/eventstream_rpc.def" -l "$folder/lib/eventstream_rpc.lib"
    cp include/*.h* "$folder/include"
    cp README.md CHANGELOG.md SECURITY.md LICENSE-MIT LICENSE-APACHE THIRD-PARTY-LICENSES "$folder/share/doc"
}

# What to do with the archive.
readme_for() {
    case $1 in
    *-windows-*) echo packaging/archive-windows.txt ;;
    *) echo packaging/archive-linux.txt ;;
    esac
}

# The names that a .dll exports.
exported() {
    x86_64-w64-mingw32-objdump -p "$1" | sed -n '/Ordinal\/Name Pointer/,/^$/s/.* \(esrpc_[a-z0-9_]*\)$/\1/p'
}

targets=("$@")
[ $# -gt 0 ] || targets=("${all[@]}")
mkdir -p "$archives"
for target in "${targets[@]}"; do
    if [[ " ${all[*]} " != *" $target "* ]]; then
        echo "usage: $0 [TARGET...], of ${all[*]}" >&2
        exit 2
    fi
    step "$target"
    rustup target add "$target"
    name=eventstream_rpc-$version-$target
    rm -rf "${archives:?}/$name"
    mkdir -p "$archives/$name"
    case $target in
    *-windows-*) for_windows "$target" "$archives/$name" ;;
    *) for_linux "$target" "$archives/$name" ;;
    esac
    sbom "$target" "$archives/$name/share/doc/eventstream_rpc.cdx.json"
    # Where README.md, which lies beside them, says that they are.
    mkdir "$archives/$name/share/doc/"{docs,examples-c}
    cp docs/*.{md,svg} "$archives/$name/share/doc/docs"
    cp examples-c/{blocking_call,quick_call,quick_server,greengrass_client}.c examples-c/{common,json}.h \
        "$archives/$name/share/doc/examples-c"
    sed -e "s|@version@|$version|" -e "s|@target@|$target|" "$(readme_for "$target")" >"$archives/$name/README"
    tar -C "$archives" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
        --mode=u+rwX,go+rX,go-w -c "$name" | gzip -9n >"$archives/$name.tar.gz"
done
(cd "$archives" && sha256sum ./*.tar.gz | sed 's|\./||' | tee SHA256SUMS && ls -l ./*.tar.gz)
