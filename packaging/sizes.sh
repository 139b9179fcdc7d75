#!/usr/bin/env bash
# sizes.sh: builds the library in its variants and prints how large they are, stripped, what is in the one with aws-lc, and
# how much memory a component takes. The table in docs/devices.md is from here. Needs Rust with the component rust-src, a C
# compiler and a quarter of an hour; Linux.
set -euo pipefail
cd "$(dirname "$0")/.."
base=$(realpath -m "${CARGO_TARGET_DIR:-target}")/sizes
host=$(rustc -vV | sed -n 's/^host: //p')
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$work"' EXIT

# built FOLDER VARIABLE...: the folder with what `make library` has made.
built() {
    local folder=$base/$1 log=$base/$1.log
    mkdir -p "$folder"
    make --no-print-directory library CARGO_TARGET_DIR="$folder" "${@:2}" >"$log" 2>&1 || { tail -n 20 "$log" >&2; exit 1; }
    [ ! -d "$folder/$host/release" ] || folder=$folder/$host
    echo "$folder/release"
}

row() {
    printf '%-60s %6d KiB\n' "$1" $(($(stat -c %s "$2") / 1024))
}

# library NAME FOLDER
library() {
    strip -o "$work/stripped.so" "$2/libeventstream_rpc.so"
    row "$1" "$work/stripped.so"
}

# program SOURCE FOLDER NAME: linked with the static library, without what it does not use.
program() {
    cc -Os -Iinclude "$1" -o "$work/$3" "$2/install/libeventstream_rpc.a" -lutil -lrt -lpthread -lm -ldl -Wl,--gc-sections -s
}

# parts LIBRARY: how much code and data of each origin it has, by its symbols.
parts() {
    nm --print-size --size-sort --radix=d --demangle "$1" | awk '
        $3 !~ /[tTrRdD]/ { next }
        {
            name = $0
            sub(/^[0-9]+ [0-9]+ . /, "", name)
            if (name ~ /gimli|addr2line|rustc_demangle|miniz_oxide|backtrace/) origin = "backtraces of std"
            else if (name ~ /x509_parser|asn1_rs|der_parser|oid_registry|nom::|num_bigint|time::parsing/) origin = "x509-parser"
            else if (name ~ /eventstream_rpc|^esrpc_/) origin = "eventstream_rpc"
            else if (name ~ /rustls|webpki|pki_types|aws_lc_rs::/) origin = "rustls, webpki"
            else if (name ~ /^aes_gcm_(en|de)crypt_avx512|(^|_)aes_gcm_(en|de)crypt_avx512/) origin = "aws-lc: AES-GCM for AVX-512"
            else if (name ~ /::|^<|^_R|^__rust|^rust_/) origin = "std, other crates"
            else origin = "aws-lc"
            size[origin] += $2
        }
        END { for (origin in size) printf "    %-56s %6d KiB\n", origin, size[origin] / 1024 }' | sort -k 1,1b
}

mkdir -p "$base"
echo "$(uname -m), $(rustc --version), $(date +%F)"
aws=$(built aws)
library "shared, TLS with aws-lc" "$aws"
library "the same without code for AVX-512" "$(CFLAGS=-DMY_ASSEMBLER_IS_TOO_OLD_FOR_512AVX built aws_plain)"
library "the same, SMALL=yes with opt-level 3" "$(CARGO_PROFILE_RELEASE_OPT_LEVEL=3 built aws_small_3 SMALL=yes)"
library "the same, SMALL=yes" "$(built aws_small SMALL=yes)"
library "shared, TLS with ring" "$(built ring CARGO_FLAGS="--no-default-features --features ring")"
none=$(built none CARGO_FLAGS=--no-default-features)
library "shared, no TLS" "$none"
library "the same, SMALL=yes with opt-level 3" \
    "$(CARGO_PROFILE_RELEASE_OPT_LEVEL=3 built small_3 CARGO_FLAGS=--no-default-features SMALL=yes)"
small=$(built small CARGO_FLAGS=--no-default-features SMALL=yes)
library "the same, SMALL=yes" "$small"
for folder in "$none" "$small"; do
    [ "$folder" = "$none" ] && how="no TLS" || how="no TLS, SMALL=yes"
    program examples-c/codec_dump.c "$folder" codec_dump
    row "static, messages only (codec_dump), $how" "$work/codec_dump"
    program examples-c/greengrass_client.c "$folder" greengrass_client
    row "static, greengrass_client, $how" "$work/greengrass_client"
done
echo "In the library with aws-lc, by its symbols:"
parts "$aws/libeventstream_rpc.so"

program examples-c/quick_server.c "$small" quick_server
mkfifo "$work/input"
"$work/quick_server" "$work/socket" <"$work/input" >"$work/server.log" 2>&1 &
server=$!
exec 3>"$work/input"
until grep -q listening "$work/server.log"; do
    kill -0 $server
    sleep 0.1
done
for folder in "$none" "$small"; do
    [ "$folder" = "$none" ] && how="no TLS" || how="no TLS, SMALL=yes"
    program packaging/resident.c "$folder" resident
    printf '%-58s   resident    its own\n' "Memory of a static client, $how"
    "$work/resident" "$work/socket"
done
