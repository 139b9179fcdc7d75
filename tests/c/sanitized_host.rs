//! test_sanitized_host.c is a program that was compiled with ThreadSanitizer and uses a library that was not: what is
//! reported with the suppressions of docs/tsan.supp and without them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use libtest_mimic::Trial;

use crate::cc::{self, Standard};

const SOURCE: &str = "test_sanitized_host.c";

pub fn tests() -> Vec<Trial> {
    let tests: [(&str, fn()); 4] = [
        ("a_correct_program_has_no_reports", a_correct_program_has_no_reports),
        ("a_race_of_two_threads_is_reported", a_race_of_two_threads_is_reported),
        ("a_race_in_a_callback_is_reported", a_race_in_a_callback_is_reported),
        ("the_suppressions_are_needed", the_suppressions_are_needed),
    ];
    // A program has one sanitizer at a time.
    let tests = tests.into_iter().filter(|_| !cc::is_slow());
    let trial = |(name, test): (&str, fn())| {
        Trial::test(format!("sanitized_host::{name}"), move || {
            test();
            Ok(())
        })
    };
    tests.map(trial).collect()
}

static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
    let flags = ["-fsanitize=thread", "-O1"].map(str::to_owned);
    cc::try_compile(Standard::C11, SOURCE, &flags).unwrap_or_else(|error| panic!("{error}"))
});

fn shipped_suppressions() -> PathBuf {
    cc::root().join("docs/tsan.supp")
}

/// What ThreadSanitizer, which does not see into the library, reports about the program when it has this race.
fn reports_of(race: &str, suppressions: &Path) -> String {
    let options = format!("exitcode=0 log_path=stdout suppressions={}", suppressions.display());
    // Its memory lies at fixed places, which a random layout may take.
    let arguments = [std::env::consts::ARCH, "-R", PROGRAM.to_str().expect("UTF-8"), race];
    cc::run_in(Path::new("setarch"), &arguments, &[("TSAN_OPTIONS", Path::new(&options))])
}

/// How reports name the line of the program with this text.
fn place_of(text: &str) -> String {
    let source = fs::read_to_string(cc::root().join("tests/c").join(SOURCE)).expect("a test");
    let line = source.lines().position(|line| line.contains(text)).expect("it is in the program") + 1;
    format!("{SOURCE}:{line}")
}

fn a_correct_program_has_no_reports() {
    let reports = reports_of("", &shipped_suppressions());
    assert!(!reports.contains("WARNING"), "{reports}");
}

fn a_race_of_two_threads_is_reported() {
    let reports = reports_of("threads", &shipped_suppressions());
    assert!(reports.contains(&place_of("shared++")), "{reports}");
}

/// Without the lines that silence callbacks altogether, which docs/tsan.supp explains.
fn a_race_in_a_callback_is_reported() {
    let careful = cc::scratch().join("careful.supp");
    let text = fs::read_to_string(shipped_suppressions()).expect("the repository has docs/tsan.supp");
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with("race:")).collect();
    fs::write(&careful, lines.join("\n")).expect("the target folder can be written");
    let reports = reports_of("callback", &careful);
    assert!(reports.contains(&place_of("visitor.racing++")), "{reports}");
}

fn the_suppressions_are_needed() {
    let none = cc::scratch().join("none.supp");
    fs::write(&none, "").expect("the target folder can be written");
    assert!(reports_of("", &none).contains("WARNING"), "docs/tsan.supp is not needed any more");
}
