//! A child that is forked while the runtime works.

#![cfg(unix)]

#[path = "common/runtime_recorder.rs"]
mod runtime_recorder;

use eventstream_rpc::runtime::{Settings, is_loop_thread};
use runtime_recorder::*;
use std::sync::Mutex;
use std::sync::mpsc::channel;

/// The exit code of a child that does `work`.
fn in_child(work: impl FnOnce() -> bool) -> i32 {
    // SAFETY: the child calls what the library promises to work there, and _exit; the parent only waits.
    unsafe {
        match libc::fork() {
            0 => {
                // A child that hangs ends all the same, by SIGALRM.
                libc::alarm(10);
                libc::_exit(if work() { 0 } else { 1 })
            }
            child => {
                let mut status = 0;
                assert_eq!(libc::waitpid(child, &mut status, 0), child);
                if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -1 }
            }
        }
    }
}

#[test]
fn a_child_forked_in_a_callback_may_wait_and_have_a_runtime_of_its_own() {
    let parents = runtime();
    let (codes, children) = channel();
    let codes = Mutex::new(codes);
    let (recorder, events) = Recorder::new(move |_, on| {
        if let On::Setup(Ok(_)) = on {
            let code = in_child(|| {
                let (recorder, _events) = Recorder::new(|_, _| {});
                let own = runtime();
                let listener = serve_with(&own, Settings::default(), &recorder);
                let connection = connect(&own, endpoint_of(&listener), None, &recorder);
                let set_up = connection.wait_setup(Some(LONG)) == Ok(Ok(()));
                own.shut_down();
                drop((listener, connection));
                !is_loop_thread() && set_up && own.join(Some(LONG)) == Ok(())
            });
            codes.lock().expect("no panic").send((is_loop_thread(), code)).expect("the test listens");
        }
    });
    let listener = serve_with(&parents, Settings::default(), &recorder);
    let connection = connect(&parents, endpoint_of(&listener), None, &recorder);
    assert_eq!(connection.wait_setup(Some(LONG)), Ok(Ok(())));
    assert_eq!(children.recv_timeout(LONG * 2), Ok((true, 0)));
    drop(events);
}

#[test]
fn a_child_that_lets_go_of_the_parents_runtime_does_no_harm() {
    let parents = runtime();
    let mut handle = Some(parents);
    assert_eq!(
        in_child(|| {
            drop(handle.take());
            runtime().join(Some(LONG)) == Ok(())
        }),
        0
    );
    assert_eq!(handle.map(|runtime| runtime.join(Some(LONG))), Some(Ok(())));
}
