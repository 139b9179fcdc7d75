//! The tests that are left out on other systems than the one that cargo builds for, or without TLS, each with the reason.

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
    /// With a library without TLS.
    WithoutTls,
}

/// Where, how the names of the tests begin (or end, after a `*`), and why they are left out there.
const LEFT_OUT: &[(Where, &[&str], &str)] = &[
    (Where::Elsewhere, &["sanitized_host::"], "ThreadSanitizer is tried on one system"),
    (Where::Target("-musl"), &["memory::"], "musl does not report how much memory is in use"),
    (
        Where::Under("qemu-"),
        &[
            "fork::the_parents_objects_are_foreign_and_new_ones_work",
            "fork::a_fork_inside_a_callback",
            "fork::forks_while_other_threads_are_busy",
            "namespaces::a_child_with_the_same_id_is_another_process",
        ],
        "qemu ignores MADV_WIPEONFORK",
    ),
    (
        Where::Under("qemu-"),
        &["divided_reads::a_peer_cannot_hold_the_loop_by_a_descriptor_that_closes_slowly"],
        "qemu reads SO_PASSRIGHTS, but does not set it",
    ),
    (
        Where::Under("qemu-"),
        &["good_guest::signals_are_for_the_hosts_threads"],
        "the system shows which signals qemu blocks, not which the program blocks",
    ),
    (
        Where::Under("qemu-"),
        &[
            "guest_exits::the_process_may_exit_everywhere",
            "guest_exits::another_program_takes_no_connections_over",
            "peer_credentials::a_unix_socket_shows_who_is_at_its_other_end",
        ],
        "the program starts itself again, but only qemu can start it",
    ),
    (Where::Under("qemu-"), &["randomness::tls_without_random_bytes_is_refused"], "qemu installs no seccomp filter"),
    (
        Where::Under("qemu-"),
        &["sockets::the_loopback_interface_leads_to_loopback"],
        "qemu sets SO_BINDTODEVICE, but does not read it",
    ),
    (Where::Static, &["copies::"], "it loads the shared library"),
    (
        Where::Static,
        &["accept_errors::", "event_errors::", "faults::", "listener_limits::", "replaced_file::"],
        "it replaces functions of the C library, which is part of the program",
    ),
    (Where::WithoutTls, &["*::over_tls", "*::over_tls_and_unix"], "uses TLS"),
    (
        Where::WithoutTls,
        &["null_arguments_tls::no_bytes", "null_arguments_tls::plain_connection", "tls_config::"],
        "makes TLS settings",
    ),
    (
        Where::WithoutTls,
        &[
            "adopted_sockets::after_a_failed_connect_the_socket_is_the_callers",
            "errors::a_tls_alert_is_there_as_a_number_on_both_sides",
            "listener_end::a_drain_reports_them_first",
            "listener_end::a_shutdown_reports_them_first",
            "listener_end::connections_in_their_tls_handshake_end_with_their_listener",
            "listener_end::nothing_comes_after_closed_under_load",
            "listener_limits::a_tls_handshake_that_is_given_up_is_reported_to_the_listener",
            "listener_limits::of_a_crowd_that_says_nothing_the_limit_is_left",
            "many_connections::ten_thousand_connections_leave_nothing_behind",
            "statistics::handshakes_of_tls_that_fail",
            "statistics::resumed_sessions_of_tls",
            "worst_case::a_connection_takes_no_more_than_the_formula_says",
            "worst_case::records_that_nobody_reads_are_counted",
            "worst_case::tls_strangers_stay_below_the_formula",
        ],
        "some or all of its connections use TLS",
    ),
    (Where::WithoutTls, &["randomness::"], "only TLS needs random bytes"),
    (Where::NotWindows, &["pipes::"], "there are named pipes on Windows only"),
    // Where the programs see POSIX by way of tests/c/windows/posix.h.
    (WINDOWS, &["*::compiles_in_every_standard"], "posix.h is C11; the header is compiled in every standard elsewhere"),
    (WINDOWS, &["accept_errors::"], "the program takes accept4's place, which a .dll does not call"),
    (WINDOWS, &["cancel::"], "there is no pthread_cancel"),
    (WINDOWS, &["copies::"], "loads the library with dlopen"),
    (WINDOWS, &["divided_reads::"], "passes descriptors and sends urgent data"),
    (WINDOWS, &["event_errors::"], "the program takes epoll_wait's place"),
    (WINDOWS, &["failing_peers::"], "kills peers that it has forked"),
    (WINDOWS, &["faults::", "replaced_file::"], "the program takes the place of system calls"),
    (WINDOWS, &["fork::"], "there is no fork"),
    (WINDOWS, &["good_guest::"], "is about signals and descriptors"),
    (WINDOWS, &["guest_exits::"], "ends forked processes"),
    (WINDOWS, &["guest_limits::"], "there are no limits of the process"),
    (WINDOWS, &["inherited_state::"], "is about socket options and forks of Unix"),
    (WINDOWS, &["many_connections::", "names::", "stop::"], "the program takes getaddrinfo's place"),
    (WINDOWS, &["memory::"], "asks malloc of glibc"),
    (WINDOWS, &["namespaces::"], "there are no namespaces"),
    (WINDOWS, &["randomness::"], "filters system calls"),
    (WINDOWS, &["worst_case::", "thread_end::every_wait_returns"], "reads /proc"),
    (
        WINDOWS,
        &[
            "adopted_sockets::a_client_takes_a_connected_socket",
            "adopted_sockets::a_listener_takes_connected_sockets_beside_its_own",
            "adopted_sockets::after_a_failed_",
        ],
        "asks whether a socket blocks, which Windows does not say",
    ),
    (
        WINDOWS,
        &[
            "adopted_sockets::a_successor_goes_on_with_the_socket_of_a_closed_listener",
            "adopted_sockets::the_file_of_an_adopted_unix_listener_stays",
        ],
        "needs a socket file",
    ),
    (
        WINDOWS,
        &["drain::a_paused_connection_is_closed_at_once"],
        "a closing side waits for the peer's end, up to a second: Windows does not say what is unacknowledged",
    ),
    (WINDOWS, &["failing_connects::"], "quotes errors of Unix, and leaves the process no descriptors"),
    (WINDOWS, &["getters::both_sides_know_both_addresses::over_unix"], "addresses of pipes look otherwise: pipes::"),
    (
        WINDOWS,
        &[
            "limits::a_connect_above_the_limit_of_the_handshake_ends_the_connection::over_unix",
            "server::a_connection_that_is_not_accepted_is_closed::over_unix",
            "setup::without_the_handshake_option_setup_comes_before_connect_is_sent::over_unix",
            "shutdown::a_refused_connect_is_delivered_and_ends_both_sides::over_unix",
            "stream_end::a_stream_that_was_not_activated_has_no_on_closed::over_unix",
            "drain::a_connection_before_its_handshake_is_closed::over_unix",
        ],
        "a pipe's server meets a client at its first byte: pipes::",
    ),
    (
        WINDOWS,
        &["listener_end::connections_in_their_tls_handshake_end_with_their_listener"],
        "asks how much is unacknowledged",
    ),
    (WINDOWS, &["listener_limits::"], "the program takes the place of epoll_wait and accept4"),
    (WINDOWS, &["listening::"], "is about socket files and errors of Unix"),
    (WINDOWS, &["null_arguments_options::interfaces"], "sockets are not bound to interfaces"),
    (WINDOWS, &["wrong_sockets::what_is_not_such_a_socket_is_refused_with_the_reason"], "needs pipe()"),
    (WINDOWS, &["peer_credentials::"], "is about users of Unix: pipes::"),
    (WINDOWS, &["replacement::no_call_is_lost_or_executed_twice::over_unix"], "a pipe cannot be handed over"),
    (
        WINDOWS,
        &["runtime::connections_are_spread_over_the_threads::over_unix"],
        "connections of a pipe stay on one loop",
    ),
    (
        WINDOWS,
        &[
            "runtime::shutdown_aborts_a_client_and_answers_everything::over_unix",
            "waits::wait_flush_reports_whether_all_is_written::over_unix",
            "waits::waits_of_no_time::over_unix",
            "waits::the_log_gets_lines_of_its_level_and_graver_ones::over_unix",
            "waits::many_threads_wait_at_once::over_unix",
            "blocking::a_full_queue_is_waited_for::over_unix",
            "blocking::a_server_that_closes_without_answering_connect_is_named::over_unix",
            "blocking::an_error_message_of_the_peers_ends_what_waits::over_unix",
            "blocking::a_close_that_takes_long_interrupts_at_once::over_unix",
        ],
        "a plain socket does not speak to a pipe",
    ),
    (WINDOWS, &["sentences::options"], "quotes the sentence about the mode, which pipes do not have"),
    (
        WINDOWS,
        &["server::a_bind_that_fails_returns_at_once_with_the_systems_message"],
        "Wine has no text for the error",
    ),
    (
        WINDOWS,
        &["server::a_bind_that_fails_returns_at_once_with_the_systems_message::over_unix"],
        "Wine ignores FILE_FLAG_FIRST_PIPE_INSTANCE: first_instance.c",
    ),
    (
        S390X,
        &["thread_end::"],
        "glibc unwinds a thread that ends, here through frames of Rust: promised for x86 and ARM",
    ),
    (
        WINDOWS,
        &["setup::a_connection_that_could_not_be_made_gets_the_reason_and_then_only_on_destroy::over_unix"],
        "a pipe without a server is not found, rather than refused: pipes::",
    ),
    (WINDOWS, &["sockets::"], "looks at the library's sockets by their descriptors"),
    (
        WINDOWS,
        &[
            "thread_end::esrpc_connection_callbacks.on_destroy",
            "thread_end::esrpc_connection_callbacks.on_shutdown",
            "thread_end::esrpc_listener_callbacks.",
        ],
        "leaves the process no descriptors",
    ),
    (
        WINDOWS,
        &[
            "errors::a_failed_setup_is_explained_with_the_systems_error_inside_and_after_the_callback::over_unix",
            "errors::the_systems_error_is_there_as_a_number::over_unix",
        ],
        "the end of a pipe shows in a write first",
    ),
];

const S390X: Where = Where::Target("s390x-");
const WINDOWS: Where = Where::Target("-windows-");

/// Programs with peers that are plain sockets speak of no pipe.
fn has_raw_peers(name: &str) -> bool {
    let program = name.split("::").next().unwrap_or_default();
    let source = std::fs::read_to_string(cc::root().join(format!("tests/c/test_{program}.c"))).unwrap_or_default();
    ["\"raw_peer.h\"", "\"adopted_sockets.h\"", "\"listener_limits.h\"", "\"names.h\"", "<sys/un.h>"]
        .iter()
        .any(|header| source.contains(&format!("#include {header}")))
}

fn matches(pattern: &str, name: &str) -> bool {
    pattern.strip_prefix('*').map_or_else(|| name.starts_with(pattern), |end| name.ends_with(end))
}

impl Where {
    fn is_here(self) -> bool {
        if matches!(self, Where::WithoutTls) {
            return !cc::has_tls();
        }
        let Some(target) = cc::target() else { return matches!(self, Where::NotWindows) };
        match self {
            Where::WithoutTls => false,
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
    let count = |pattern: &str| tests.iter().filter(|test| matches(pattern, test.name())).count();
    for pattern in LEFT_OUT.iter().flat_map(|(_, patterns, _)| patterns.iter()) {
        assert!(count(pattern) > 0 || cc::is_slow(), "left_out.rs leaves out {pattern}, which is not a test");
    }
    let here: Vec<_> = LEFT_OUT.iter().filter(|(place, _, _)| place.is_here()).collect();
    for (_, patterns, reason) in &here {
        patterns.iter().for_each(|pattern| println!("left out: {pattern} ({}): {reason}", count(pattern)));
    }
    let is_over_pipe = |test: &Trial| WINDOWS.is_here() && test.name().ends_with("unix") && has_raw_peers(test.name());
    if WINDOWS.is_here() {
        let count = tests.iter().filter(|test| is_over_pipe(test)).count();
        println!("left out: over_unix with raw peers ({count}): a plain socket does not speak to a pipe");
    }
    let patterns = here.iter().flat_map(|(_, patterns, _)| patterns.iter());
    let marked = tests.into_iter().map(|test| {
        let is_left_out = is_over_pipe(&test) || patterns.clone().any(|pattern| matches(pattern, test.name()));
        test.with_ignored_flag(is_left_out)
    });
    marked.collect()
}
