//! Every function of the header is called in every callback: the calls are generated from the header, so that a
//! function that is new is tried at once, or stops the tests if its parameters are not known here.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use crate::cc;
use crate::header_text::{self, Function, Parameter};

/// Whole statements for functions that need more than arguments. The last column says why.
const SPECIAL: &[(&str, &str, &str)] = &[
    (
        "esrpc_connection_pause_reading",
        "hands->status = esrpc_connection_pause_reading(hands->connection);\n\
         esrpc_connection_resume_reading(hands->connection);",
        "the conversation is to go on",
    ),
    (
        "esrpc_client_options_set_socket",
        "int fds[2];\nsocket_pair(fds);\n\
         CHECK_OK(esrpc_client_options_set_socket(hands->client_options, fds[0]));\nclose(fds[0]);\nclose(fds[1]);",
        "a socket is needed",
    ),
    (
        "esrpc_listener_options_set_socket",
        "int fds[2];\nsocket_pair(fds);\n\
         hands->status = esrpc_listener_options_set_socket(hands->listener_options, fds[0]);\n\
         close(fds[0]);\nclose(fds[1]);",
        "a socket is needed",
    ),
    (
        "esrpc_listener_adopt_connection",
        "int fds[2];\nsocket_pair(fds);\n\
         if (esrpc_listener_adopt_connection(hands->listener, fds[0]) != ESRPC_OK) close(fds[0]);\nclose(fds[1]);",
        "a socket is needed, and taken",
    ),
    (
        "esrpc_listener_dup_socket",
        "esrpc_socket out;\nif (esrpc_listener_dup_socket(hands->listener, &out) == ESRPC_OK) close(out);",
        "the socket is the caller's",
    ),
    (
        "esrpc_connection_connect",
        "esrpc_connection *out = NULL;\n\
         if (esrpc_connection_connect(hands->client_options, &hands->connection_callbacks, &dialled, &out) == ESRPC_OK) {\n\
         note(\"made dialled\");\nCHECK_OK(esrpc_connection_abort(out));\nesrpc_connection_release(out);\n}",
        "its connection is to end",
    ),
    (
        "esrpc_listener_listen",
        "esrpc_listener *out = NULL;\n\
         if (esrpc_listener_listen(hands->listener_options, &hands->listener_callbacks, &heard, &out) == ESRPC_OK) {\n\
         note(\"made heard\");\nCHECK_OK(esrpc_listener_close(out));\nesrpc_listener_release(out);\n}",
        "its listener is to end",
    ),
    (
        "esrpc_connection_new_stream",
        "esrpc_stream *out = NULL;\n\
         if (esrpc_connection_new_stream(hands->connection, &hands->stream_callbacks, &hands->scene->extra, &out) == \
         ESRPC_OK) {\nnote(\"extra made\");\nesrpc_stream_release(out);\n}",
        "its callbacks are counted",
    ),
    (
        "esrpc_stream_activate",
        "if (hands->new_stream != NULL && activate(hands->new_stream, 0, \"first\", \"extra\") == ESRPC_OK) {\n\
         note(\"extra activated\");\nnote(\"sent extra\");\n}",
        "a stream that is not activated is needed",
    ),
    (
        "esrpc_connection_run_on_loop",
        "if (esrpc_connection_run_on_loop(hands->connection, count_task, NULL) == ESRPC_OK) note(\"begun task\");",
        "the task is counted",
    ),
    (
        "esrpc_uuid_from_text",
        "uint8_t out[16];\n\
         CHECK_OK(esrpc_uuid_from_text(esrpc_text(\"00000000-0000-0000-0000-000000000000\"), out));",
        "a text of that form is needed",
    ),
];

/// Objects that are counted: their release is given a new reference.
const COUNTED: &[&str] = &["runtime", "connection", "stream", "listener", "tls_config"];

/// Types of the available objects, named as in `struct hands`.
const AT_HAND: &[&str] = &[
    "runtime",
    "connection",
    "stream",
    "listener",
    "headers",
    "message",
    "buffer",
    "decoder",
    "client_options",
    "listener_options",
    "connection_options",
    "runtime_options",
    "tls_config_builder",
    "tls_config",
    "connection_callbacks",
    "stream_callbacks",
    "listener_callbacks",
    "decoder_callbacks",
];

/// What stands before the call, the argument, and what stands after it.
struct Argument {
    before: String,
    value: String,
    after: String,
}

fn plain(value: impl Into<String>) -> Result<Argument, String> {
    Ok(Argument { before: String::new(), value: value.into(), after: String::new() })
}

fn argument(function: &Function, parameter: &Parameter) -> Result<Argument, String> {
    let name = parameter.name.as_str();
    let of_type = parameter.declaration.strip_suffix(name).unwrap_or_default().trim();
    let bare = of_type.trim_start_matches("const ").trim_start_matches("struct ");
    match of_type {
        "struct esrpc_bytes" if name.ends_with("path") => return plain("esrpc_text(\"/nowhere/file\")"),
        "struct esrpc_bytes" if name == "data" => return plain("esrpc_buffer_get_bytes(hands->buffer)"),
        "struct esrpc_bytes" => return plain("esrpc_text(\"name\")"),
        "const char *" => return plain("\"text\""),
        "const struct esrpc_header *" => {
            let before = format!(
                "esrpc_header {name}[1];\nmemset({name}, 0, sizeof {name});\n{name}[0].name = esrpc_text(\"name\");\n"
            );
            return Ok(Argument { before, value: name.to_owned(), after: String::new() });
        }
        "void *" if name == "flush_user_data" => return plain("(void *)\"extra\""),
        "void *" => return plain("NULL"),
        "esrpc_flush_callback" => return plain("on_flush"),
        "esrpc_log_callback" => return plain("note_line"),
        "esrpc_connect_callback" | "esrpc_ended_callback" => return plain("NULL"),
        "const struct esrpc_bytes *" => {
            let before = format!("esrpc_bytes {name}[1];\n{name}[0] = esrpc_text(\"name\");\n");
            return Ok(Argument { before, value: name.to_owned(), after: String::new() });
        }
        "const uint8_t *" => return plain("(const uint8_t *)\"sixteen bytes...\""),
        "char *" | "uint8_t *" => {
            let kind = of_type.trim_end_matches(" *");
            return Ok(Argument {
                before: format!("{kind} {name}[256];\n"),
                value: name.to_owned(),
                after: String::new(),
            });
        }
        _ => {}
    }
    if name == "capacity" {
        // Of the array before it.
        let array = function.parameters.iter().rev().skip_while(|other| other.name != name).nth(1);
        return plain(format!("sizeof {0} / sizeof *{0}", array.map(|array| array.name.as_str()).unwrap_or_default()));
    }
    if name == "message_type" {
        return plain(if function.name.contains("protocol") { "ESRPC_MESSAGE_TYPE_PING" } else { "0" });
    }
    if matches!(name, "flags" | "message_flags" | "index" | "first") {
        return plain("0");
    }
    if matches!(bare, "int8_t" | "int16_t" | "int32_t" | "int64_t" | "uint32_t" | "size_t" | "bool" | "esrpc_status") {
        return plain("1");
    }
    if name.starts_with("out_") {
        return Ok(output(function, name, bare));
    }
    let kind = bare.trim_end_matches(['*', ' ']).trim_start_matches("esrpc_");
    if bare.matches('*').count() == 1 && AT_HAND.contains(&kind) {
        let reference = if kind.ends_with("_callbacks") { "&" } else { "" };
        if !function.name.ends_with("_release") {
            return plain(format!("{reference}hands->{kind}"));
        }
        if COUNTED.contains(&kind) {
            return plain(format!("esrpc_{kind}_acquire(hands->{kind})"));
        }
        // Owned by the caller: it does not exist after the call.
        return Ok(Argument {
            before: String::new(),
            value: format!("hands->{kind}"),
            after: format!("hands->{kind} = NULL;\n"),
        });
    }
    Err(format!("{}: what is {}?", function.name, parameter.declaration))
}

/// A variable for what a function gives back, which is released if it is the caller's.
fn output(function: &Function, name: &str, bare: &str) -> Argument {
    if name == "out_headers" && bare.starts_with("esrpc_header ") {
        let before = "struct esrpc_header out_headers[4];\n".to_owned();
        return Argument { before, value: name.to_owned(), after: String::new() };
    }
    let kind = bare.trim_end_matches(['*', ' ']);
    let is_object = bare.matches('*').count() == 2;
    let is_lent = function.name == "esrpc_decoder_next_message";
    let mut before = match (is_object, is_lent) {
        (true, true) => format!("const {kind} *{name} = NULL;\n"),
        (true, false) => format!("{kind} *{name} = NULL;\n"),
        (false, _) => format!("{kind} {name};\nmemset(&{name}, 0, sizeof {name});\n"),
    };
    if kind.ends_with("_stats") || kind.ends_with("_info") || kind.ends_with("_credentials") {
        let _ = writeln!(before, "{name}.struct_size = sizeof {name};");
    }
    let after = if is_object && !is_lent { format!("{kind}_release({name});\n") } else { String::new() };
    Argument { before, value: format!("&{name}"), after }
}

/// The statements that call the function.
fn call(function: &Function) -> Result<String, String> {
    if let Some((_, statements, _)) = SPECIAL.iter().find(|(name, _, _)| *name == function.name) {
        return Ok((*statements).to_owned());
    }
    let arguments: Vec<_> =
        function.parameters.iter().map(|parameter| argument(function, parameter)).collect::<Result<_, _>>()?;
    let mut text: String = arguments.iter().map(|argument| argument.before.as_str()).collect();
    let values: Vec<_> = arguments.iter().map(|argument| argument.value.as_str()).collect();
    let call = format!("{}({})", function.name, values.join(", "));
    let makes_object = function.name.ends_with("_acquire") || function.name.contains("_new");
    match function.return_type.as_str() {
        "void" => writeln!(text, "{call};"),
        "esrpc_status" => writeln!(text, "hands->status = {call};"),
        object if makes_object => {
            let kind = object.trim_start_matches("struct ").trim_end_matches(" *");
            writeln!(text, "{kind}_release({call});")
        }
        _ => writeln!(text, "(void){call};"),
    }
    .expect("a string can be written to");
    let has = |wanted: &str| function.parameters.iter().any(|parameter| parameter.name == wanted);
    if has("on_flush") {
        text.push_str("if (hands->status == ESRPC_OK) note(\"sent extra\");\n");
    }
    if has("timeout_ms") && !function.name.contains("_set_") {
        let object = function.parameters.first().map_or("", |parameter| parameter.name.as_str());
        let is_there = if object == "stream" { "hands->stream == NULL || " } else { "" };
        let _ = writeln!(text, "CHECK({is_there}hands->status == ESRPC_ERROR_WOULD_DEADLOCK);");
    }
    arguments.iter().for_each(|argument| text.push_str(&argument.after));
    Ok(text)
}

fn generate() -> Result<String, Vec<String>> {
    let functions = header_text::functions();
    let (mut names, mut cases, mut unknown) = (String::new(), String::new(), Vec::new());
    for (number, function) in functions.iter().enumerate() {
        match call(function) {
            Ok(statements) => {
                let _ = writeln!(names, "    \"{}\",", function.name);
                let _ = writeln!(cases, "case {number}: {{\n{statements}\nbreak;\n}}");
            }
            Err(complaint) => unknown.push(complaint),
        }
    }
    if !unknown.is_empty() {
        return Err(unknown);
    }
    let count = functions.len();
    Ok(format!(
        "enum {{ CALL_COUNT = {count} }};\nstatic const char *const call_names[] = {{\n{names}}};\n\
         static void call_function(int number, struct hands *hands) {{\nswitch (number) {{\n{cases}}}\n}}\n"
    ))
}

/// What says of a call in a log callback, with nothing for all arguments, that it did nothing.
fn call_from_log(function: &Function) -> Result<String, String> {
    let nothing = |parameter: &Parameter| {
        let declaration = parameter.declaration.as_str();
        let of_type = declaration.strip_suffix(parameter.name.as_str()).unwrap_or(declaration).trim();
        match of_type {
            "struct esrpc_bytes" => "no_bytes",
            "bool" => "false",
            number if !number.contains('*') && !number.ends_with("_callback") => "0",
            _ => "NULL",
        }
    };
    let arguments: Vec<_> = function.parameters.iter().map(nothing).collect();
    let call = format!("{}({})", function.name, arguments.join(", "));
    match function.return_type.as_str() {
        "void" => Ok(format!("{call};")),
        "esrpc_status" if !function.name.ends_with("_status") => {
            Ok(format!("CHECK({call} == ESRPC_ERROR_INVALID_STATE);"))
        }
        "const char *" => Ok(format!("CHECK({call}[0] == '\\0');")),
        "struct esrpc_bytes" => Ok(format!("CHECK({call}.len == 0);")),
        pointer if pointer.ends_with('*') => Ok(format!("CHECK({call} == NULL);")),
        "bool" => Ok(format!("CHECK(!{call});")),
        // -1 for a field of a message that is not there.
        "esrpc_status" | "int32_t" | "int8_t" => Ok(format!("CHECK({call} == 0 || {call} == -1);")),
        "uint32_t" | "size_t" | "uint64_t" => Ok(format!("CHECK({call} == 0);")),
        other => Err(format!("{}: what does {other} say of a call that did nothing?", function.name)),
    }
}

fn generate_log_calls() -> Result<String, Vec<String>> {
    let (calls, unknown): (Vec<_>, Vec<_>) =
        header_text::functions().iter().map(call_from_log).partition(Result::is_ok);
    if !unknown.is_empty() {
        return Err(unknown.into_iter().filter_map(Result::err).collect());
    }
    let (count, calls) = (calls.len(), calls.into_iter().flatten().collect::<Vec<_>>().join("\n"));
    Ok(format!(
        "enum {{ LOG_CALL_COUNT = {count} }};\nstatic void call_everything(void) {{\n\
         const esrpc_bytes no_bytes = {{NULL, 0}};\n{calls}\n}}\n"
    ))
}

/// Names of the functions.
pub fn functions() -> Vec<String> {
    header_text::functions().into_iter().map(|function| function.name).collect()
}

/// The folder of every_call.h and log_calls.h, which are made now if they are not there yet.
pub fn folder() -> &'static Path {
    static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
        let calls =
            generate().unwrap_or_else(|unknown| panic!("parameters that every_call.rs does not know: {unknown:#?}"));
        for (name, _, why) in SPECIAL {
            assert!(functions().iter().any(|function| function == name), "{name} ({why}) is not in the header");
        }
        let folder = cc::scratch().to_owned();
        fs::write(folder.join("every_call.h"), calls).expect("the target folder can be written");
        let calls = generate_log_calls().unwrap_or_else(|unknown| panic!("{unknown:#?}"));
        fs::write(folder.join("log_calls.h"), calls).expect("the target folder can be written");
        folder
    });
    &FOLDER
}
