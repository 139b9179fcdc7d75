# The library, its tools and its files for development, for OpenEmbedded and Yocto. Needs the classes of Yocto 5.3 (whinlatter)
# or newer, which have a compiler for Rust 1.89; an older release needs one from a layer of its own.
#
# The recipe builds the tree that it is in: add this folder to BBFILES, for example in local.conf:
#
#   BBFILES += "/where/eventstream_rpc/packaging/yocto/*.bb"
#
# In a layer of your own, set EXTERNALSRC to nothing, and SRC_URI and SRCREV to your repository, in a .bbappend:
#
#   EXTERNALSRC = ""
#   SRC_URI:prepend = "git://..."
#   SRCREV = "..."
#
# update.sh in this folder makes the list of crates, and the checksums of the licences, anew.
#
# Checked: parsed by BitBake 2.18 with OpenEmbedded-Core of Yocto 6.0 (wrynose), and by BitBake 2.19 with that of August 2026,
# which also fetched and unpacked the crates, and compiled and installed eventstream-rpc-native, without TLS, with a Rust
# compiler of the host; oelint-adv 9.11. Not checked: a build for another machine with OpenEmbedded's own compilers, and the
# split into packages.
SUMMARY = "AWS event-stream messages and event-stream RPC, client and server"
SUMMARY:${PN}-tools = "${SUMMARY} - Command-line tools"
DESCRIPTION = "A library with a C interface that speaks the event-stream message format of AWS and the event-stream RPC \
               protocol, which AWS IoT Greengrass uses between its components, over TCP, Unix sockets and TLS."
HOMEPAGE = "https://eventstream-rpc.invalid"
SECTION = "libs"
# Those of the library, and those of the crates in it.
LICENSE = "(MIT | Apache-2.0) & Apache-2.0 & BSD-3-Clause & ISC & MIT & Unicode-3.0"
LIC_FILES_CHKSUM = "\
    file://LICENSE-MIT;md5=017ec72c3647121617cff0c165ad317f \
    file://LICENSE-APACHE;md5=3b83ef96387f14655fc854ddc3c6bd57 \
    file://THIRD-PARTY-LICENSES;md5=cf9b43249ffe5ac4d1658e4ba0fbd53d \
"

require ${BPN}-crates.inc

inherit cargo externalsrc

EXTERNALSRC ?= "${@os.path.realpath(d.getVar('THISDIR') + '/../..')}"
EXTERNALSRC_SYMLINKS = ""

# The cryptography of TLS; with neither, the library has no TLS.
PACKAGECONFIG ??= "aws-lc-rs"
PACKAGECONFIG[aws-lc-rs] = "--features aws-lc-rs,,,,ca-certificates,ring"
PACKAGECONFIG[ring] = "--features ring,,,,ca-certificates,aws-lc-rs"

# Classes of 2026 and later set it, for debugging as well.
CARGO_PROFILE ??= "release"
export CARGO_TARGET_DIR = "${B}/target"
EXTRA_OEMAKE = "\
    TARGET='${RUST_HOST_SYS}' \
    PROFILE='${CARGO_PROFILE}' \
    CARGO_FLAGS='--frozen --no-default-features ${PACKAGECONFIG_CONFARGS}' \
    PREFIX='${prefix}' \
    BINDIR='${bindir}' \
    LIBDIR='${libdir}' \
    INCLUDEDIR='${includedir}' \
    MANDIR='${mandir}' \
    DOCDIR='${docdir}/${BPN}' \
    RELOCATABLE=no \
"

# The class would build and install the library as Rust programs use it.
do_compile() {
    export RUSTFLAGS="${RUSTFLAGS}"
    oe_runmake -C ${S}
}

do_install() {
    # As for do_compile, so that nothing is built again.
    oe_cargo_fix_env
    export RUSTFLAGS="${RUSTFLAGS}"
    oe_runmake -C ${S} install DESTDIR='${D}'
}

PACKAGE_BEFORE_PN = "${PN}-tools"
FILES:${PN}-tools += "${bindir}/esrpc-*"

BBCLASSEXTEND = "native nativesdk"
