# Sourced by the scripts that need more than a Rust toolchain: installs what is missing.

# install_packages PACKAGE...
install_packages() {
    local missing=() package sudo=()
    for package in "$@"; do
        dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    [ "$(id -u)" = 0 ] || sudo=(sudo)
    "${sudo[@]}" apt-get update
    DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install --yes --no-install-recommends "${missing[@]}"
}

# install_zig FOLDER: a compiler and linker for musl and for old versions of glibc.
install_zig() {
    install_packages python3 python3-venv
    if [ ! -x "$1/zig/bin/cargo-zigbuild" ]; then
        python3 -m venv "$1/zig"
        "$1/zig/bin/pip" install --quiet ziglang cargo-zigbuild
    fi
    PATH=$1/zig/bin:$PATH
}

step() {
    printf '\n=== %s\n' "$*"
}
