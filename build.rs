//! Makes the C header, in OUT_DIR, and gives the shared library its name.

use std::path::{Path, PathBuf};
use std::{env, error, fs};

/// The files that the header is made of; the order is that of the header's types and functions.
const SOURCES: &[&str] = &[
    "status.rs",
    "constants.rs",
    "bytes.rs",
    "uuid.rs",
    "headers.rs",
    "headers_add.rs",
    "headers_get.rs",
    "message.rs",
    "decoder.rs",
    "tls_config.rs",
    "tls_revocation.rs",
    "connection_options.rs",
    "connection_times.rs",
    "socket_options.rs",
    "client_options.rs",
    "listener_options.rs",
    "callbacks.rs",
    "runtime_options.rs",
    "runtime.rs",
    "connection.rs",
    "connection_info.rs",
    "stream.rs",
    "listener.rs",
    "adopted_sockets.rs",
    "tls_info.rs",
    "blocking.rs",
    "drain.rs",
    "statistics.rs",
];

/// The only type whose size is not the same on all systems; src/ffi/adopted_sockets.rs has its twin.
const SOCKET: &str = "
/** A socket as the system names it: a file descriptor, or a SOCKET on Windows. */
#ifdef _WIN32
typedef uintptr_t esrpc_socket;
#else
typedef int esrpc_socket;
#endif";

fn main() -> Result<(), Box<dyn error::Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    println!("cargo::rerun-if-changed=build.rs");
    make_header(&root, &PathBuf::from(env::var("OUT_DIR")?).join("eventstream_rpc.h"))?;
    name_shared_library();
    Ok(())
}

fn make_header(root: &Path, header: &Path) -> Result<(), Box<dyn error::Error>> {
    let settings = root.join("cbindgen.toml");
    println!("cargo::rerun-if-changed={}", settings.display());
    let mut config = cbindgen::Config::from_file(&settings)?;
    config.after_includes = Some(format!("{}\n{SOCKET}", version_defines()?));

    let mut builder = cbindgen::Builder::new().with_config(config);
    let folder = root.join("src/ffi");
    println!("cargo::rerun-if-changed={}", folder.display());
    for source in SOURCES.iter().map(|name| folder.join(name)).filter(|path| path.exists()) {
        builder = builder.with_src(source);
    }
    let mut text = Vec::new();
    builder.generate()?.write(&mut text);
    fs::write(header, text)?;
    Ok(())
}

fn version_defines() -> Result<String, env::VarError> {
    let mut defines = format!(
        "\n/** The version of this header; esrpc_version tells that of the library. */\n\
         #define ESRPC_VERSION \"{}\"\n",
        env::var("CARGO_PKG_VERSION")?
    );
    for part in ["MAJOR", "MINOR", "PATCH"] {
        let number = env::var(format!("CARGO_PKG_VERSION_{part}"))?;
        defines.push_str(&format!("#define ESRPC_VERSION_{part} {number}\n"));
    }
    Ok(defines.trim_end().to_owned())
}

/// The name carries the ABI: 0 until it is promised, then its major number. cargo-c brings a name of its own.
fn name_shared_library() {
    let is_linux = env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux");
    if is_linux && env::var_os("CARGO_FEATURE_CAPI").is_none() {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libeventstream_rpc.so.0");
        // A library that owns threads must not be unmapped under them.
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
