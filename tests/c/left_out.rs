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
const LEFT_OUT: &[(Where, &str, &str)] =
    &[(Where::Elsewhere, "sanitized_host::", "ThreadSanitizer is tried on one system")];

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
    for (_, start, _) in LEFT_OUT {
        let is_one = tests.iter().any(|test| test.name().starts_with(start)) || cc::is_slow();
        assert!(is_one, "left_out.rs leaves out {start}, which is not a test");
    }
    let here: Vec<_> = LEFT_OUT.iter().filter(|(place, _, _)| place.is_here()).collect();
    for (_, start, reason) in &here {
        let count = tests.iter().filter(|test| test.name().starts_with(start)).count();
        println!("left out: {start} ({count}): {reason}");
    }
    let is_left_out = |test: &Trial| here.iter().any(|(_, start, _)| test.name().starts_with(start));
    let marked = tests.into_iter().map(|test| {
        let left_out = is_left_out(&test);
        test.with_ignored_flag(left_out)
    });
    marked.collect()
}
