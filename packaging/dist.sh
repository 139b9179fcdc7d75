#!/usr/bin/env bash
# dist.sh: makes target/dist/eventstream_rpc-VERSION.tar.xz, the committed source with all crates in it, which builds without a
# network. The same commit gives the same bytes.
set -euo pipefail
cd "$(dirname "$0")/.."
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
name=eventstream_rpc-$version
folder=$(realpath -m "${CARGO_TARGET_DIR:-target}")/dist
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}

rm -rf "${folder:?}/$name"
mkdir -p "$folder/$name/.cargo"
git archive HEAD | tar -x -C "$folder/$name"
cargo vendor --locked --manifest-path "$folder/$name/Cargo.toml" "$folder/$name/vendor" >/dev/null
# Everything comes from there, whatever the configuration of the machine says.
cat >"$folder/$name/.cargo/config.toml" <<'END'
[source.crates-io]
replace-with = "vendored-sources"

[source.vendored-sources]
directory = "vendor"
END
tar -C "$folder" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --mode=u+rwX,go+rX,go-w \
    -c "$name" | xz -T1 -6 >"$folder/$name.tar.xz"
(cd "$folder" && sha256sum "$name.tar.xz" | tee "$name.tar.xz.sha256")
