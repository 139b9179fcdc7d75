//! The library as a guest in its process: few descriptors, threads and little memory; exits and other programs; several copies.
//! More of this is in c_stress: signals, descriptors of other programs, forks, unloading.
#![cfg(target_os = "linux")]

#[path = "common/cc.rs"]
mod cc;

use std::path::Path;

use cc::Standard;

#[test]
fn a_process_that_may_have_little() {
    cc::run(&cc::compile(Standard::C11, "test_guest_limits.c"), &[]);
}

#[test]
fn a_process_that_ends_while_connections_are_open() {
    cc::run(&cc::compile(Standard::C11, "test_guest_exits.c"), &[]);
}

#[test]
fn copies_of_the_library() {
    // Linked only if needed, which it is not: dlopen alone has it in memory.
    let program = cc::compile_with(Standard::C11, "test_copies.c", &["-Wl,--as-needed"]);
    let library = cc::shared_library();
    let copy = cc::scratch().join("another.so");
    std::fs::copy(&library, &copy).expect("the target folder can be written");
    let [library, copy] =
        [library, copy].map(|path| path.to_str().expect("the target folder's path is UTF-8").to_owned());
    cc::run(&program, &[&library, &copy]);
}

/// What ThreadSanitizer, which does not see into the library, says of a program that has this race.
fn reports_of(program: &Path, race: &str, suppressions: &Path) -> String {
    let options = format!("exitcode=0 log_path=stdout suppressions={}", suppressions.display());
    // Its memory lies at fixed places, which a random layout may take.
    let arguments = [std::env::consts::ARCH, "-R", program.to_str().expect("UTF-8"), race];
    cc::run_in(Path::new("setarch"), &arguments, &[("TSAN_OPTIONS", Path::new(&options))])
}

#[test]
fn thread_sanitizer_is_quiet_for_a_correct_program_and_finds_the_races_of_others() {
    if cc::is_slow() {
        return; // One sanitizer at a time.
    }
    const SOURCE: &str = "test_sanitized_host.c";
    let program = cc::compile_with(Standard::C11, SOURCE, &["-fsanitize=thread", "-O1"]);
    let source = std::fs::read_to_string(cc::root().join("tests/c").join(SOURCE)).expect("a test");
    // Where reports say that the race is.
    let place_of = |text: &str| {
        let line = source.lines().position(|line| line.contains(text)).expect("it is in the program") + 1;
        format!("{SOURCE}:{line}")
    };
    let shipped = cc::root().join("docs/tsan.supp");
    let reports = reports_of(&program, "", &shipped);
    assert!(!reports.contains("WARNING"), "a correct program: {reports}");
    let reports = reports_of(&program, "threads", &shipped);
    assert!(reports.contains(&place_of("shared++")), "a race of two threads is hidden: {reports}");

    let none = cc::scratch().join("none.supp");
    std::fs::write(&none, "").expect("the target folder can be written");
    assert!(reports_of(&program, "", &none).contains("WARNING"), "the file is not needed any more");

    let careful = cc::scratch().join("careful.supp");
    let text = std::fs::read_to_string(&shipped).expect("the repository has docs/tsan.supp");
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with("race:")).collect();
    std::fs::write(&careful, lines.join("\n")).expect("the target folder can be written");
    let reports = reports_of(&program, "callback", &careful);
    assert!(reports.contains(&place_of("visitor.racing++")), "a race of a callback is hidden: {reports}");
}
