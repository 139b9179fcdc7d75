
/// After a stop no callback runs any longer, whatever was under way; handles are released as usual.
#[test]
fn stop_at_once_against_everything() {
    check(|| {
        let scene = Scene::new(2);
        let listener = scene.listen();
        let connection = scene.meet(&listener);
        let mut threads = Vec::new();
        threads.push(scene.begin(|scene| {
            let runtimes = [scene.runtime.clone()];
            eventstream_rpc::runtime::stop_runtimes(&runtimes, None).expect("not a loop thread");
            scene.tally.is_stopped.store(true, Ordering::SeqCst);
        }));
        let at = listener.clone();
        threads.push(scene.begin(move |scene| {
            if let Some(connection) = scene.connect(&at) {
                drop(connection.wait_setup(None));
                connection.close(Ok(()));
            }
        }));
        let of = connection.clone();
        threads.push(scene.begin(move |scene| {
            let Some(stream) = scene.new_stream(&of) else { return };
            if scene.activate(&stream, 0) {
                scene.send(&stream, TERMINATE_STREAM);
                drop(stream.wait_closed(None));
            }
        }));
        let at = listener.clone();
        threads.push(scene.begin(move |_| at.drain(Drain::within(None))));
        let of = connection.clone();
        threads.push(scene.begin(move |_| of.abort()));
        finish(threads);
        drop(connection.wait_shutdown(None));
        drop(listener.wait_closed(None));
        drop(connection);
        drop(listener);
        // Its threads have ended, as every call on it says.
        drop(scene.runtime.join(None));
    });
}
