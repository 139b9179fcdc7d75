//! The tests that are left out on other systems than the one that cargo builds for, each with the reason.

use libtest_mimic::Trial;

use crate::cc;

/// Where a test cannot run.
#[allow(dead_code, reason = "a row for the next system may need the others")]
#[derive(Clone, Copy)]
enum Where {
    /// Everywhere but on the system that cargo builds for.
    Elsewhere,
    /// On systems whose name contains this: `-musl`.
    Target(&'static str),
    /// Where a command whose name begins with this runs the programs: `qemu-`.
    Under(&'static str),
    /// In programs that contain the library.
    Static,
}

/// Where, how the names of the tests begin, and why they are left out there.
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
        &["accept_errors::", "event_errors::", "faults::", "listener_limits::"],
        "it replaces functions of the C library, which is part of the program",
    ),
];

impl Where {
    fn is_here(self) -> bool {
        let Some(target) = cc::target() else { return false };
        match self {
            Where::Elsewhere => true,
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
    let count = |start: &str| tests.iter().filter(|test| test.name().starts_with(start)).count();
    for start in LEFT_OUT.iter().flat_map(|(_, starts, _)| starts.iter()) {
        assert!(count(start) > 0 || cc::is_slow(), "left_out.rs leaves out {start}, which is not a test");
    }
    let here: Vec<_> = LEFT_OUT.iter().filter(|(place, _, _)| place.is_here()).collect();
    for (_, starts, reason) in &here {
        starts.iter().for_each(|start| println!("left out: {start} ({}): {reason}", count(start)));
    }
    let starts = here.iter().flat_map(|(_, starts, _)| starts.iter());
    let marked = tests.into_iter().map(|test| {
        let is_left_out = starts.clone().any(|start| test.name().starts_with(start));
        test.with_ignored_flag(is_left_out)
    });
    marked.collect()
}
