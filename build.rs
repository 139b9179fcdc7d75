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
    "headers_block.rs",
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

/// Where the block with C linkage is to begin; cbindgen opens it behind the types.
const OPENS_HERE: &str = "/* C linkage begins. */\n";

const MACROS: &str = "
/** How each function is exported. Define ESRPC_STATIC to link the static library on Windows. */
#if defined(_WIN32) && defined(ESRPC_BUILDING)
#define ESRPC_API __declspec(dllexport)
#elif defined(_WIN32) && !defined(ESRPC_STATIC)
#define ESRPC_API __declspec(dllimport)
#elif defined(__GNUC__) && !defined(_WIN32)
#define ESRPC_API __attribute__((visibility(\"default\")))
#else
#define ESRPC_API
#endif

/** The calling convention of functions and callbacks. */
#ifdef _WIN32
#define ESRPC_CALL __cdecl
#else
#define ESRPC_CALL
#endif
";

/// Where the names of the opaque objects begin.
const OPEN_END: &str = "#endif /* __cplusplus */\n\n";
const OBJECTS: &str = "/**
 * @defgroup objects Objects
 * The objects that the functions work on, and constants that apply to all of them.
 * Programs only hold pointers to them.
 * Counted objects may be used by several threads, and are released once for each reference.
 * The others belong to one thread at a time, and are released once.
 * @{
 */

";

const MAX_COLUMNS: usize = 100;

/// A part of the header: the name and the title of a group, what to know first, its types in their order, and how its
/// functions begin.
type Section = (&'static str, &'static str, &'static str, &'static [&'static str], &'static [&'static str]);
const SECTIONS: &[Section] = &[
    (
        "version",
        "Version and statuses",
        "
What a status means, and why the last failed call on this thread failed.
Every function that can fail returns an esrpc_status; ESRPC_OK is 0.
esrpc_status_name and esrpc_status_message explain a status in general.
esrpc_last_error_message explains one failure, with names and numbers.
Each thread has a message of its own.",
        &["esrpc_status", "esrpc_status_code", "esrpc_error_info"],
        &["esrpc_version", "esrpc_status_", "esrpc_last_error"],
    ),
    (
        "bytes",
        "Bytes and text",
        "
Text and data go in and out as esrpc_bytes: a pointer and a length.
esrpc_text makes one of a C string, without copying it.
An esrpc_buffer is memory that the library has allocated for the caller.
Release it with esrpc_buffer_release.
A UUID is 16 bytes, and has a text form.",
        &["esrpc_bytes"],
        &["esrpc_text", "esrpc_bytes_", "esrpc_buffer_", "esrpc_uuid_"],
    ),
    (
        "headers",
        "Headers",
        "
A message has headers: names with values of ten types.
Build a list with esrpc_headers_new and the functions that add to it.
The list of a message can only be read.
Names may repeat; when a name is looked up, the last one counts.
Upper and lower case do not matter.",
        &["esrpc_header_type", "esrpc_header"],
        &["esrpc_headers_"],
    ),
    (
        "messages",
        "Messages",
        "
A message is a list of headers and a payload.
Callbacks and decoders lend messages: esrpc_message_copy makes one to keep.
Encoding and decoding work without any connection.
The type, flags and stream of the RPC protocol are headers of a message.
Several threads may read the same message.",
        &["esrpc_message_type", "esrpc_message_flag", "esrpc_message_info"],
        &["esrpc_message_"],
    ),
    (
        "decoder",
        "Decoder",
        "
A decoder takes bytes in pieces of any size and finds the messages in them.
It hands out whole messages, or parts of them to callbacks.
Parts need no memory for the payload.
After damaged input it keeps returning the same error.
A decoder belongs to one thread at a time.",
        &["esrpc_decoder_callbacks"],
        &["esrpc_decoder_"],
    ),
    (
        "options",
        "Options",
        "
Settings are objects that are filled in before a connection or listener is made.
Connection options are those that both kinds have in common: limits, times and sockets.
Client options say where to connect, listener options where to listen.
Options are copied when they are used, so they can be changed or released afterwards.
Each option has a default.",
        &["esrpc_address_family", "esrpc_connect_callback"],
        &["esrpc_connection_options_", "esrpc_client_options_", "esrpc_listener_options_"],
    ),
    (
        "runtime",
        "Runtime",
        "
A runtime has the event-loop threads on which all callbacks are called.
Programs that need only one use the default runtime: pass NULL.
Drain and shut down a runtime to end everything in order.
Stop it to end everything at once.
Join waits until everything has ended.",
        &["esrpc_ended_callback"],
        &["esrpc_runtime_options_", "esrpc_runtime_", "esrpc_stop_all"],
    ),
    (
        "connection",
        "Connection",
        "
A connection is made by a client, or accepted by a listener.
It is set up first; the handshake of the protocol follows: CONNECT and CONNECT_ACK.
After that, clients open streams.
All callbacks of a connection are called on one event-loop thread.
Closing writes what was sent; aborting does not.",
        &[
            "esrpc_connection_state",
            "esrpc_connection_callbacks",
            "esrpc_flush_callback",
            "esrpc_task_callback",
            "esrpc_peer_credentials",
        ],
        &["esrpc_connection_"],
    ),
    (
        "stream",
        "Stream",
        "
A stream is one call: messages both ways until either side ends it.
A client makes a stream and activates it with an operation and the first message.
A server accepts it in on_incoming_stream.
A message with ESRPC_MESSAGE_FLAG_TERMINATE_STREAM is the last one.
A stream without callbacks is read with esrpc_stream_read.",
        &["esrpc_stream_state", "esrpc_stream_callbacks"],
        &["esrpc_connection_new_stream", "esrpc_stream_"],
    ),
    (
        "listener",
        "Listener",
        "
A listener accepts connections at an address, and hands each to on_incoming_connection.
Closing a listener leaves its connections alone.
Draining it lets open streams finish.
Sockets can be handed to a successor.
It can also take sockets that the application has accepted itself.",
        &["esrpc_listener_callbacks"],
        &["esrpc_listener_"],
    ),
    (
        "blocking",
        "Functions that wait",
        "
These functions wait for an outcome, for programs without an event loop of their own.
They must not be called in callbacks: there they return ESRPC_ERROR_WOULD_DEADLOCK.
Times are in milliseconds.
ESRPC_NO_TIMEOUT waits for as long as it takes.
0 does not wait.",
        &[],
        &[
            "esrpc_connection_connect_blocking",
            "esrpc_connection_call",
            "esrpc_connection_wait_",
            "esrpc_stream_read",
            "esrpc_stream_send_blocking",
            "esrpc_stream_wait_",
            "esrpc_listener_wait_",
        ],
    ),
    (
        "tls",
        "TLS",
        "
TLS settings are built once, for clients or for servers, and shared by many connections.
Clients trust the CAs of the system unless others are given; servers need a certificate.
A library built without TLS returns ESRPC_ERROR_UNSUPPORTED from every function of the builder;
esrpc_tls_get_provider then returns an empty string.
esrpc_client_options_set_tls and esrpc_listener_options_set_tls use the settings.
After the handshake, a connection reports what was negotiated.",
        &["esrpc_tls_version", "esrpc_tls_client_auth", "esrpc_tls_revocation_depth"],
        &[
            "esrpc_tls_get_",
            "esrpc_tls_config_builder_",
            "esrpc_tls_config_",
            "esrpc_connection_get_tls_",
            "esrpc_connection_is_tls_",
        ],
    ),
    (
        "statistics",
        "Log and statistics",
        "
The log callback gets one line of text at a time; it may be called on any thread.
It may not call any function of the library.
Statistics count what has happened on a connection, a listener or a runtime.
Set struct_size before each call.
Counts only grow, except those that describe the present.",
        &["esrpc_log_level", "esrpc_log_callback", "esrpc_stats"],
        &[
            "esrpc_runtime_options_set_log",
            "esrpc_connection_get_stats",
            "esrpc_listener_get_stats",
            "esrpc_runtime_get_stats",
        ],
    ),
];

fn main() -> Result<(), Box<dyn error::Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    make_header(&root, &out.join("eventstream_rpc.h"))?;
    make_status_table(&root.join("src/ffi/status.rs"), &out.join("status_table.rs"))?;
    name_shared_library()?;
    choose_host_call();
    Ok(())
}

fn make_header(root: &Path, header: &Path) -> Result<(), Box<dyn error::Error>> {
    let settings = root.join("cbindgen.toml");
    println!("cargo::rerun-if-changed={}", settings.display());
    let mut config = cbindgen::Config::from_file(&settings)?;
    config.after_includes = Some(format!("{}\n{SOCKET}\n{MACROS}\n{OPENS_HERE}", version_defines()?));

    let mut builder = cbindgen::Builder::new().with_config(config);
    let folder = root.join("src/ffi");
    println!("cargo::rerun-if-changed={}", folder.display());
    for source in SOURCES.iter().map(|name| folder.join(name)).filter(|path| path.exists()) {
        builder = builder.with_src(source);
    }
    let mut text = Vec::new();
    builder.generate()?.write(&mut text);
    fs::write(header, arranged(&String::from_utf8(text)?)?)?;
    Ok(())
}

/// What cbindgen cannot do: C linkage for types of callbacks, calling conventions, and the functions by their sections.
fn arranged(header: &str) -> Result<String, Box<dyn error::Error>> {
    let header = &filled(header);
    const OPEN: &str = "#ifdef __cplusplus\nextern \"C\" {\n#endif // __cplusplus\n";
    const CLOSE: &str = "#ifdef __cplusplus\n}  // extern \"C\"";
    let (types, rest) = header.split_once(OPEN).ok_or("no block of C functions")?;
    let (functions, end) = rest.split_once(CLOSE).ok_or("the block of C functions has no end")?;
    let types = types.replacen(OPENS_HERE, &format!("{}\n", OPEN.trim_end().replace("//", "/*") + " */"), 1);
    let types = signed(&types).replace("(*", "(ESRPC_CALL *");
    let (mut text, types) = taken_apart(&types);
    let in_section = |name: &str| SECTIONS.iter().any(|(_, _, _, types, _)| types.contains(&name));
    if let Some((name, _)) = types.iter().find(|(name, _)| !in_section(name)) {
        return Err(format!("{name} has no place in SECTIONS").into());
    }

    let mut sorted = Vec::new();
    for (number, function) in functions.split("\n/**\n").skip(1).enumerate() {
        let (comment, declaration) = function.rsplit_once("*/\n").ok_or("a function without a comment")?;
        let declaration = declaration.split_whitespace().collect::<Vec<_>>().join(" ");
        let (head, parameters) = declaration.split_once('(').ok_or("a function without parameters")?;
        let at = head.find("esrpc_").map_or(0, |_| head.rfind([' ', '*']).map_or(0, |at| at + 1));
        let (result, name) = head.split_at(at);
        let place = place(name).ok_or_else(|| format!("{name} has no place in SECTIONS"))?;
        let declaration = wrapped(&format!("ESRPC_API {result}ESRPC_CALL {name}("), parameters);
        sorted.push((place, number, format!("/**\n{comment}*/\n{declaration}\n\n")));
    }
    sorted.sort();
    let at = text.rfind(OPEN_END).ok_or("no block of C types")? + OPEN_END.len();
    text.insert_str(at, OBJECTS);
    text.push_str("/** @} */\n\n");
    for (number, (group, title, orientation, names, _)) in SECTIONS.iter().enumerate() {
        let mine = sorted.iter().filter(|((section, _), _, _)| *section == number);
        let orientation = orientation.trim().replace('\n', "\n * ");
        text.push_str(&format!("/**\n * @defgroup {group} {title}\n * {orientation}\n * @{{\n */\n\n"));
        for name in *names {
            let (_, text_of_type) =
                types.iter().find(|(other, _)| other == name).ok_or_else(|| format!("no {name}"))?;
            text.push_str(text_of_type);
        }
        mine.for_each(|(_, _, function)| text.push_str(function));
        text.push_str("/** @} */\n\n");
    }
    Ok(format!("{text}{CLOSE}{end}"))
}

/// Takes the types that have members or are called out of what stands before the functions: their names and texts, and
/// what is left, such as the names of the opaque objects, which every section needs.
fn taken_apart(types: &str) -> (String, Vec<(String, String)>) {
    let (mut rest, mut taken) = (String::new(), Vec::new());
    for item in types.split("\n\n").map(str::trim_end).filter(|item| !item.is_empty()) {
        let last = item.lines().rev().find(|line| line.starts_with("} ") || line.starts_with("typedef "));
        let name = last.filter(|_| item.trim_start().starts_with("/**") && !item.contains("#ifdef")).and_then(|last| {
            let is_opaque = last.starts_with("typedef struct ") && last.ends_with(';');
            let name = match last.split_once("(ESRPC_CALL *") {
                Some((_, rest)) => rest.split(')').next(),
                None => last.trim_end_matches(';').rsplit(' ').next(),
            };
            name.filter(|_| !is_opaque)
        });
        match name {
            Some(name) => taken.push((name.to_owned(), with_short_lines(item) + "\n\n")),
            None => rest += &format!("{item}\n\n"),
        }
    }
    (rest, taken)
}

/// Breaks the declarations of callbacks that are too long.
fn with_short_lines(item: &str) -> String {
    let mut text = String::new();
    let mut lines = item.trim_start().lines().peekable();
    while let Some(line) = lines.next() {
        if !line.contains("(ESRPC_CALL *") {
            text += &format!("{line}\n");
            continue;
        }
        let mut declaration = line.to_owned();
        while !declaration.ends_with(';') {
            let Some(next) = lines.next() else { break };
            declaration += &format!(" {}", next.trim());
        }
        match declaration.split_once(")(") {
            Some((head, parameters)) => text += &format!("{}\n", wrapped(&format!("{head})("), parameters)),
            None => text += &format!("{declaration}\n"),
        }
    }
    text.trim_end().to_owned()
}

/// Fills the lines of comments, whose sources may be longer or shorter, and puts short comments on one line.
fn filled(header: &str) -> String {
    let (mut text, mut paragraph) = (String::new(), (String::new(), Vec::<&str>::new()));
    let flush = |text: &mut String, (margin, words): &mut (String, Vec<&str>)| {
        let mut line = String::new();
        for word in words.drain(..) {
            if !line.is_empty() && margin.len() + line.len() + 1 + word.len() > MAX_COLUMNS {
                *text += &format!("{margin}{line}\n");
                line.clear();
            }
            line += &if line.is_empty() { word.to_owned() } else { format!(" {word}") };
        }
        if !line.is_empty() {
            *text += &format!("{margin}{line}\n");
        }
    };
    for line in header.lines() {
        let margin = line.len() - line.trim_start().len();
        match line.trim_start().strip_prefix("* ") {
            Some(words) if margin % 4 == 1 => {
                if words.starts_with('@') {
                    flush(&mut text, &mut paragraph);
                }
                paragraph.0 = format!("{}* ", &line[..margin]);
                paragraph.1.extend(words.split_whitespace());
                if words.starts_with("@file") {
                    flush(&mut text, &mut paragraph);
                }
            }
            _ => {
                flush(&mut text, &mut paragraph);
                text += line;
                text.push('\n');
                if line.trim() == "*/" {
                    join_last_comment(&mut text);
                }
            }
        }
    }
    text
}

/// A comment of one line does not need three.
fn join_last_comment(text: &mut String) {
    let Some(at) = text.rfind("/**\n") else { return };
    let lines: Vec<_> = text[at..].lines().map(|line| line.trim().trim_start_matches("* ")).collect();
    let margin = at - text[..at].rfind('\n').map_or(0, |end| end + 1);
    if let ["/**", words, "*/"] = lines[..]
        && margin + words.len() + 7 <= MAX_COLUMNS
    {
        let joined = format!("/** {words} */\n");
        text.replace_range(at.., &joined);
    }
}

/// Gives each enum a negative member: without one its type is unsigned, and that of the parameters is signed.
fn signed(types: &str) -> String {
    let (mut text, mut is_enum) = (String::new(), false);
    for line in types.lines() {
        is_enum |= line.starts_with("typedef enum ");
        if let Some(name) = line.strip_prefix("} ").filter(|_| is_enum) {
            let name = name.trim_end_matches(';').to_uppercase();
            let comment = "/** Never passed or returned; makes the type of the constants int. */";
            text.push_str(&format!("    {comment}\n    {name}_NEGATIVE = -1,\n"));
            is_enum = false;
        }
        text.push_str(line);
        text.push('\n');
    }
    text
}

/// The section of a function, and its place there: those of the longest prefix.
fn place(name: &str) -> Option<(usize, usize)> {
    let prefixes = SECTIONS.iter().enumerate().flat_map(|(section, (_, _, _, _, prefixes))| {
        prefixes.iter().enumerate().map(move |(place, prefix)| (prefix, (section, place)))
    });
    prefixes
        .filter(|(prefix, _)| name.starts_with(**prefix))
        .max_by_key(|(prefix, _)| prefix.len())
        .map(|(_, place)| place)
}

/// A declaration on one line, or with its parameters below it.
fn wrapped(head: &str, parameters: &str) -> String {
    if head.len() + parameters.len() <= MAX_COLUMNS {
        return format!("{head}{parameters}");
    }
    let mut lines = vec![head.to_owned()];
    let indent = " ".repeat(head.len() - head.trim_start().len() + 3);
    let mut line = indent.clone();
    for parameter in parameters.split_inclusive(", ").map(str::trim) {
        if line.len() + 1 + parameter.len() > MAX_COLUMNS {
            lines.push(std::mem::replace(&mut line, indent.clone()));
        }
        line = format!("{line} {parameter}");
    }
    lines.push(line);
    lines.join("\n")
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

fn version_defines() -> Result<String, Box<dyn error::Error>> {
    let mut defines = format!(
        "\n/** The version of this header; esrpc_version returns that of the library. */\n\
         #define ESRPC_VERSION \"{}\"\n",
        env::var("CARGO_PKG_VERSION")?
    );
    let mut number = 0;
    for part in ["MAJOR", "MINOR", "PATCH"] {
        let value = env::var(format!("CARGO_PKG_VERSION_{part}"))?;
        number = 100 * number + value.parse::<u32>()?;
        let what = part.to_lowercase();
        defines.push_str(&format!("/** The {what} version. */\n#define ESRPC_VERSION_{part} {value}\n"));
    }
    defines.push_str(&format!(
        "/** The version as a number, for comparisons: 10000 * major + 100 * minor + patch. */\n\
         #define ESRPC_VERSION_NUMBER {number}"
    ));
    Ok(defines)
}

/// The name carries the ABI: the major version, within which the ABI only grows. cargo-c gives the same name itself.
fn name_shared_library() -> Result<(), env::VarError> {
    if env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        if env::var_os("CARGO_FEATURE_CAPI").is_none() {
            let major = env::var("CARGO_PKG_VERSION_MAJOR")?;
            println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libeventstream_rpc.so.{major}");
        }
        // A library that owns threads must not be unmapped under them.
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
    Ok(())
}

/// Sets `cfg(esrpc_host_call)` where src/ffi/host_call.rs has a frame of its own that calls callbacks.
fn choose_host_call() {
    println!("cargo::rustc-check-cfg=cfg(esrpc_host_call)");
    let is_one =
        |variable: &str, values: &[&str]| env::var(variable).is_ok_and(|value| values.contains(&value.as_str()));
    if is_one("CARGO_CFG_TARGET_OS", &["linux"])
        && is_one("CARGO_CFG_TARGET_ENV", &["gnu"])
        && is_one("CARGO_CFG_TARGET_ARCH", &["x86_64", "x86", "aarch64", "arm"])
    {
        println!("cargo::rustc-cfg=esrpc_host_call");
    }
}
