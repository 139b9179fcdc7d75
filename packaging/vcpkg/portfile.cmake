# A port for vcpkg, which needs a Rust toolchain and GNU make of the system. The archive is that of `make dist`, so that cargo
# needs no network. packaging/vcpkg.sh makes a port for the newest commit, with the checksum of its archive.
#
# Checked: vcpkg.json against vcpkg's JSON schema; this script, without TLS, with the scripts of vcpkg 2026-07-27, which built,
# installed and packed the library for x64-linux and x64-linux-dynamic; by tests/install.rs, a program as the file usage says. Not
# checked: the program vcpkg itself, its checks after a build, and other triplets.
#
# There is one build, of release, for both configurations: the interface is C's.
set(VCPKG_BUILD_TYPE release)
set(VCPKG_POLICY_MISMATCHED_NUMBER_OF_BINARIES enabled)

vcpkg_download_distfile(archive
    URLS "https://eventstream-rpc.invalid/eventstream_rpc-${VERSION}.tar.xz"
    FILENAME "eventstream_rpc-${VERSION}.tar.xz"
    SHA512 0
)
vcpkg_extract_source_archive(source_path ARCHIVE "${archive}")

find_program(MAKE make REQUIRED)
find_program(CARGO cargo HINTS "$ENV{HOME}/.cargo/bin" REQUIRED)

set(cargo_flags "--offline --no-default-features")
foreach(feature IN ITEMS aws-lc-rs ring)
    if(feature IN_LIST FEATURES)
        string(APPEND cargo_flags " --features ${feature}")
    endif()
endforeach()

# The tools are left out: they need the shared library.
vcpkg_execute_required_process(
    COMMAND "${MAKE}" install-strip
        "CARGO=${CARGO}"
        "CARGO_FLAGS=${cargo_flags}"
        "CARGO_TARGET_DIR=${CURRENT_BUILDTREES_DIR}/${TARGET_TRIPLET}-rel"
        "PREFIX=${CURRENT_PACKAGES_DIR}"
        "CMAKEDIR=${CURRENT_PACKAGES_DIR}/share/eventstream_rpc"
        "DOCDIR=${CURRENT_BUILDTREES_DIR}/${TARGET_TRIPLET}-doc"
        TOOLS=
    WORKING_DIRECTORY "${source_path}"
    LOGNAME "install-${TARGET_TRIPLET}"
)

file(GLOB shared_libraries "${CURRENT_PACKAGES_DIR}/lib/libeventstream_rpc.so*")
if(VCPKG_LIBRARY_LINKAGE STREQUAL "static")
    file(REMOVE ${shared_libraries})
else()
    file(REMOVE "${CURRENT_PACKAGES_DIR}/lib/libeventstream_rpc.a")
endif()
vcpkg_fixup_pkgconfig()

file(INSTALL "${CMAKE_CURRENT_LIST_DIR}/usage" DESTINATION "${CURRENT_PACKAGES_DIR}/share/${PORT}")
vcpkg_install_copyright(FILE_LIST
    "${source_path}/LICENSE-MIT"
    "${source_path}/LICENSE-APACHE"
    "${source_path}/THIRD-PARTY-LICENSES"
)
