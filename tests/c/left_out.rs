//! The tests that are left out on other systems than the one that cargo builds for, each with the reason.

use libtest_mimic::Trial;

use crate::cc;

/// Where a test cannot run.
#[allow(dead_code, reason = "a row for the next system may need the others")]
#[derive(Clone, Copy)]
enum Where {
    /// Everywhere but on the system that cargo builds for.
    Elsewhere,
    /// On all systems but Windows.
    NotWindows,
    /// On systems whose name contains this: `-musl`.
    Target(&'static str),
    /// Where a command whose name begins with this runs the programs: `qemu-`.
    Under(&'static str),
    /// In programs that contain the library.
    Static,
}

/// Where, what the names of the tests are, and why they are left out there. A `*` stands for any text, also at the end.
const LEFT_OUT: &[(Where, &str, &str)] = &[
    (Where::NotWindows, "pipes::*", "there are named pipes on Windows only"),
    (Where::Elsewhere, "sanitized_host::*", "ThreadSanitizer is tried on one system"),
    // Windows, where the programs see POSIX by way of tests/c/windows/posix.h.
    (WINDOWS, "*::compiles_in_every_standard", "posix.h is C11; the header is compiled in every standard elsewhere"),
    (WINDOWS, "accept_errors::*", "the program takes accept4's place, which a .dll does not call"),
    (WINDOWS, "cancel::*", "there is no pthread_cancel"),
    (WINDOWS, "copies::*", "loads the library with dlopen"),
    (WINDOWS, "divided_reads::*", "passes descriptors and sends urgent data"),
    (WINDOWS, "event_errors::*", "the program takes epoll_wait's place"),
    (WINDOWS, "failing_peers::*", "kills peers that it has forked"),
    (WINDOWS, "faults::*", "the program takes the place of system calls"),
    (WINDOWS, "fork::*", "there is no fork"),
    (WINDOWS, "good_guest::*", "is about signals and descriptors"),
    (WINDOWS, "guest_exits::*", "ends forked processes"),
    (WINDOWS, "guest_limits::*", "there are no limits of the process"),
    (WINDOWS, "inherited_state::*", "is about socket options and forks of Unix"),
    (WINDOWS, "many_connections::*", "the program takes getaddrinfo's place"),
    (WINDOWS, "memory::*", "asks malloc of glibc"),
    (WINDOWS, "names::*", "the program takes getaddrinfo's place"),
    (WINDOWS, "namespaces::*", "there are no namespaces"),
    (WINDOWS, "randomness::*", "filters system calls"),
    (WINDOWS, "stop::*", "the program takes getaddrinfo's place"),
    (WINDOWS, "worst_case::*", "reads /proc"),
    (
        WINDOWS,
        "adopted_sockets::a_client_takes_a_connected_socket",
        "asks whether a socket blocks, which Windows does not say",
    ),
    (WINDOWS, "adopted_sockets::a_listener_takes_connected_sockets_beside_its_own", "as above"),
    (WINDOWS, "adopted_sockets::after_a_failed_*", "as above"),
    (WINDOWS, "adopted_sockets::a_successor_goes_on_with_the_socket_of_a_closed_listener", "needs a socket file"),
    (WINDOWS, "adopted_sockets::the_file_of_an_adopted_unix_listener_stays", "needs a socket file"),
    (
        WINDOWS,
        "drain::a_paused_connection_is_closed_at_once*",
        "a closing side waits for the peer's end, up to a second: Windows does not say what is unacknowledged",
    ),
    (WINDOWS, "failing_connects::*", "quotes errors of Unix, and leaves the process no descriptors"),
    (WINDOWS, "getters::both_sides_know_both_addresses::over_unix", "addresses of pipes look otherwise: pipes::"),
    (
        WINDOWS,
        "limits::a_connect_above_the_limit_of_the_handshake_ends_the_connection::over_unix",
        "a pipe's server meets a client at its first byte: pipes::",
    ),
    (
        WINDOWS,
        "listener_end::connections_in_their_tls_handshake_end_with_their_listener",
        "asks how much is unacknowledged",
    ),
    (WINDOWS, "listener_limits::*", "the program takes the place of epoll_wait and accept4"),
    (WINDOWS, "listening::*", "is about socket files and errors of Unix"),
    (WINDOWS, "null_arguments_options::interfaces", "sockets are not bound to interfaces"),
    (WINDOWS, "peer_credentials::*", "is about users of Unix: pipes::"),
    (WINDOWS, "replacement::no_call_is_lost_or_executed_twice::over_unix", "a pipe cannot be handed over"),
    (WINDOWS, "runtime::connections_are_spread_over_the_threads::over_unix", "connections of a pipe stay on one loop"),
    (
        WINDOWS,
        "runtime::shutdown_aborts_a_client_and_answers_everything::over_unix",
        "a plain socket does not speak to a pipe",
    ),
    (WINDOWS, "sentences::options*", "quotes the sentence about the mode, which pipes do not have"),
    (WINDOWS, "server::a_bind_that_fails_returns_at_once_with_the_systems_message", "Wine has no text for the error"),
    (
        WINDOWS,
        "server::a_bind_that_fails_returns_at_once_with_the_systems_message::over_unix",
        "Wine ignores FILE_FLAG_FIRST_PIPE_INSTANCE: first_instance.c",
    ),
    (WINDOWS, "server::a_connection_that_is_not_accepted_is_closed::over_unix", "as of limits:: above"),
    (
        WINDOWS,
        "setup::a_connection_that_could_not_be_made_gets_the_reason_and_then_only_on_destroy::over_unix",
        "a pipe without a server is not found, rather than refused: pipes::",
    ),
    (
        WINDOWS,
        "setup::without_the_handshake_option_setup_comes_before_connect_is_sent::over_unix",
        "as of limits:: above",
    ),
    (WINDOWS, "shutdown::a_refused_connect_is_delivered_and_ends_both_sides::over_unix", "as of limits:: above"),
    (WINDOWS, "sockets::*", "looks at the library's sockets by their descriptors"),
    (WINDOWS, "stream_end::a_stream_that_was_not_activated_has_no_on_closed::over_unix", "as of limits:: above"),
    (WINDOWS, "blocking::a_full_queue_is_waited_for::over_unix", "a plain socket does not speak to a pipe"),
    (WINDOWS, "blocking::a_server_that_closes_without_answering_connect_is_named::over_unix", "as above"),
    (WINDOWS, "blocking::an_error_message_of_the_peers_ends_what_waits::over_unix", "as above"),
    (WINDOWS, "blocking::a_close_that_takes_long_interrupts_at_once::over_unix", "as above"),
    (WINDOWS, "thread_end::esrpc_connection_callbacks.on_destroy", "leaves the process no descriptors"),
    (WINDOWS, "thread_end::esrpc_connection_callbacks.on_shutdown", "leaves the process no descriptors"),
    (WINDOWS, "thread_end::esrpc_listener_callbacks.*", "leaves the process no descriptors"),
    (WINDOWS, "thread_end::every_wait_returns", "reads /proc"),
    (
        WINDOWS,
        "thread_end::a_stop_after_a_death_in_the_log",
        "a thread that ends in the log callback keeps a stop waiting",
    ),
    (WINDOWS, "drain::a_connection_before_its_handshake_is_closed::over_unix", "as of limits:: above"),
    (
        WINDOWS,
        "errors::a_failed_setup_is_explained_with_the_systems_error_inside_and_after_the_callback::over_unix",
        "the end of a pipe shows in a write first",
    ),
    (WINDOWS, "errors::the_systems_error_is_there_as_a_number::over_unix", "the end of a pipe shows in a write first"),
];

const WINDOWS: Where = Where::Target("-windows-");

/// Programs with peers that are plain sockets speak of no pipe.
fn has_raw_peers(name: &str) -> bool {
    let program = name.split("::").next().unwrap_or_default();
    let source = std::fs::read_to_string(cc::root().join(format!("tests/c/test_{program}.c"))).unwrap_or_default();
    ["raw_peer.h", "adopted_sockets.h", "listener_limits.h", "names.h"]
        .iter()
        .any(|header| source.contains(&format!("#include \"{header}\"")))
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        Some((start, end)) => name.strip_prefix(start).is_some_and(|rest| end.is_empty() || rest.ends_with(end)),
        None => name == pattern,
    }
}

impl Where {
    fn is_here(self) -> bool {
        let Some(target) = cc::target() else { return matches!(self, Where::NotWindows) };
        match self {
            Where::Elsewhere => true,
            Where::NotWindows => !WINDOWS.is_here(),
            Where::Target(part) => target.contains(part),
            Where::Under(command) => cc::wrapper()
                .first()
                .is_some_and(|wrapper| wrapper.rsplit('/').next().is_some_and(|name| name.starts_with(command))),
            Where::Static => cc::is_static(),
        }
    }
}

/// The tests, of which those that are left out here are ignored unless they are asked for with `--ignored`. Prints the
/// reasons.
pub fn marked(tests: Vec<Trial>) -> Vec<Trial> {
    for (_, pattern, _) in LEFT_OUT {
        let is_one = tests.iter().any(|test| matches(pattern, test.name())) || cc::is_slow();
        assert!(is_one, "left_out.rs leaves out {pattern}, which is not a test");
    }
    let here: Vec<_> = LEFT_OUT.iter().filter(|(place, _, _)| place.is_here()).collect();
    for (_, pattern, reason) in &here {
        let count = tests.iter().filter(|test| matches(pattern, test.name())).count();
        println!("left out: {pattern} ({count}): {reason}");
    }
    let is_over_pipe = |test: &Trial| WINDOWS.is_here() && test.name().ends_with("unix") && has_raw_peers(test.name());
    if WINDOWS.is_here() {
        let count = tests.iter().filter(|test| is_over_pipe(test)).count();
        println!("left out: over_unix with raw peers ({count}): a plain socket does not speak to a pipe");
    }
    let is_left_out =
        |test: &Trial| is_over_pipe(test) || here.iter().any(|(_, pattern, _)| matches(pattern, test.name()));
    let marked = tests.into_iter().map(|test| {
        let left_out = is_left_out(&test);
        test.with_ignored_flag(left_out)
    });
    marked.collect()
}
