//! Makes the C header and the table of statuses, in OUT_DIR, and gives the shared library its name.

use std::path::{Path, PathBuf};
use std::{env, error, fs};

/// The files that the header is made of; the order is that of the header's types and functions.
const SOURCES: &[&str] = &[
    "status.rs",
    "status_text.rs",
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
    "counted.rs",
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
    let out = PathBuf::from(env::var("OUT_DIR")?);
    make_header(&root, &out.join("eventstream_rpc.h"))?;
    make_status_table(&root.join("src/ffi/status.rs"), &out.join("status_table.rs"))?;
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

/// The names and sentences of the statuses, from the enum and its comments.
fn make_status_table(source: &Path, table: &Path) -> Result<(), Box<dyn error::Error>> {
    let source = fs::read_to_string(source)?;
    let (_, rest) = source.split_once("pub enum esrpc_status_code {").ok_or("no enum of statuses")?;
    let (variants, _) = rest.split_once("\n}").ok_or("the enum of statuses has no end")?;
    let (mut entries, mut comment) = (String::from("[\n"), String::new());
    for line in variants.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(text) = line.strip_prefix("/// ") {
            comment.push_str(text);
            comment.push(' ');
            continue;
        }
        let (name, _) = line.split_once(" = ").ok_or("a status without a number")?;
        entries.push_str(&format!("({name}, c{name:?}, c{:?}),\n", sentence(&std::mem::take(&mut comment))));
    }
    fs::write(table, entries + "]\n")?;
    Ok(())
}

/// The part of a comment that is shown to users: what comes before the first semicolon, as the end of a longer sentence.
fn sentence(comment: &str) -> String {
    let text = comment.split(';').next().unwrap_or_default().trim_end_matches([' ', '.']);
    let mut letters = text.chars();
    match (letters.next(), letters.clone().next()) {
        // TLS and CONNECT stay as they are.
        (Some(first), second) if !second.is_some_and(|second| second.is_ascii_uppercase()) => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text.to_owned(),
    }
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
